"""Pure: boxes, masks, maps and image files as numpy arrays and bytes."""
