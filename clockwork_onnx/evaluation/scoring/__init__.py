"""Playing labelled video and scoring the labels."""
