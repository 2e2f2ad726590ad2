"""Parts of ``tile.py``: find images, split them, cut them, write the tiles."""
