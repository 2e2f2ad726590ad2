"""Which lake, in which state, and a handle that lasts."""
