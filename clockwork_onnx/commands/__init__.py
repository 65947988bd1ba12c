"""The commands of `clockwork`, one module each; every module has one click command called `command`."""
