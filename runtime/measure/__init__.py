"""Measuring: timings, calibration, and comparison with reference outputs."""
