"""Read the encoded images of rows."""
