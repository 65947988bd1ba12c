"""Files of arrays: caffemodels and HDF5 in and out."""

from weights.files import Description, LayerDescription, Written, describe, read, split_paths, write

__all__ = ["Description", "LayerDescription", "Written", "describe", "read", "split_paths", "write"]
