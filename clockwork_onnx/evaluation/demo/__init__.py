"""The embedded net and the demo that plays it."""
