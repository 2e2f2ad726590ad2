"""Command-line tools: ``python -m mmdet_deeplake_plugin.tools.NAME --help``.

``from_coco`` and ``from_voc`` write a Deep Lake dataset from annotation files,
``tile`` cuts large images into a VOC folder for ``from_voc``, ``inspect`` shows
what a lake holds. Modules with a leading underscore are their shared parts.
"""
