"""Do the configs that ship with MMDetection read a lake as they read files?

``data`` makes test data in the shape of what a config asks for, ``rewrite`` points the
config to them as files and as lakes, ``compare`` holds the two against each other,
``catalog`` goes through the configs, ``report`` writes the table.
"""
