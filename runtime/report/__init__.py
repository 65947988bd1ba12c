"""What a run shows: overlays, timelines, logs and the HTML page."""
