"""Compare corrected annotations with those of a lake."""
