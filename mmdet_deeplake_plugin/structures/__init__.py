"""Boxes, masks, segmentation maps and image files as plain arrays and bytes."""
