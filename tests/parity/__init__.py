"""Parity with real Caffe: the nets, how their references are made, and the comparison."""
