"""A fault at every operation, one at a time: what callers get stays the same, and everything works again afterwards."""
