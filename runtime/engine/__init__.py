"""What happens on a frame: clocks decide, stages run, the feature cache keeps their values."""
