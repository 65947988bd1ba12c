"""The embedded net of the demo, shapes-fcn8s: a Caffe prototxt, its weights, and how it was trained."""
