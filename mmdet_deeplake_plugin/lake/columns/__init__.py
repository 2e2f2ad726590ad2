"""What a column means, and its values."""
