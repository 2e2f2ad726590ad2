"""Translates the parts of an old config, a file for each."""
