"""Devices, and ONNX graphs opened on them."""
