"""Optical flow: estimators, and paths summed up over several frames."""
