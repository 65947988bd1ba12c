"""The front door: ported Caffe nets, staged and run over video on a clock."""
