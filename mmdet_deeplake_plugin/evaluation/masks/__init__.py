"""Compare masks in ways that COCO's evaluation does not."""
