"""Annotation files: reading, checking, writing."""
