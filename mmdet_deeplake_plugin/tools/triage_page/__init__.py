"""A page on which one looks at what a model got wrong."""
