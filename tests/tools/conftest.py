"""Image files and the log, for the tests of the tools."""

from helpers.fixtures import logged, write_image

__all__ = ['logged', 'write_image']
