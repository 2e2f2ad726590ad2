"""Values of ``metrics_format`` beyond those of ``instances.py``, a family per file."""
