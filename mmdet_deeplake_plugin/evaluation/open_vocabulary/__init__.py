"""Score detectors that find what a text names."""
