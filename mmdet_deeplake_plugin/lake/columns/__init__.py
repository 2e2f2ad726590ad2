"""The meaning of a lake's columns, and readers for their values."""
