"""Score class by class, so that only the predictions and one class are in memory.

The numbers of COCO and LVIS are independent by class: the package of the backend scores
one class at a time, with the images that have anything of it, and its arrays are joined.
A class with very many detections, and proposals, which have no classes, are matched by
the package in parts of the images; only scores and matches are kept of a part.
"""
