"""Frames in and out: files, folders, cameras, streams."""
