"""Annotation files in which texts name what boxes and masks show."""
