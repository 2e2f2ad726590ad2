"""Judge each prediction and each annotation: what was found, what went wrong, and how."""
