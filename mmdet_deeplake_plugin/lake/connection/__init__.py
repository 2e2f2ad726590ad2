"""Resolve, open and reopen a lake, and read its columns with retries."""
