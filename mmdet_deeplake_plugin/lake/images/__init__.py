"""Encoded images of rows, and how they are read."""
