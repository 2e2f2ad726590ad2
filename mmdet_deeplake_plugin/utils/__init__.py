"""Helpers that know neither detection nor Deep Lake."""
