"""The version, alone, so that ``setup.cfg`` reads it without importing more."""

__version__ = '0.1.0'
