"""Command-line tools: ``python -m mmdet_deeplake_plugin.tools.NAME --help``.

``from_coco`` and ``from_voc`` write a lake from annotation files, ``to_coco`` writes
annotation files from a lake, ``inspect`` shows what a lake holds, ``plan`` shows how the
loader would read it, ``triage`` makes a page to look at what a model got wrong.
"""
