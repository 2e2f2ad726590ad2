"""The log, for the tests of this room."""

from helpers.fixtures import logged

__all__ = ['logged']
