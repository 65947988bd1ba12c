"""Accel's own experiment: which frames are played, which one is scored."""
