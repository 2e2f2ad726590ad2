"""Read, check and write annotation files.

Readers raise ``FileNotFoundError`` if a file or folder does not exist, and ``ValueError``
if a file is not of its format: the message says which one, where in it, what must stand
there and what does.
"""
