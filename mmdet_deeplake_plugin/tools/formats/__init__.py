"""Read, check and write annotation files."""
