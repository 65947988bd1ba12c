"""What NVIDIA DIGITS shows of a segmentation and does with its data: views, data preparation, browsing."""
