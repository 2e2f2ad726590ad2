"""Command-line tools: ``python -m mmdet_deeplake_plugin.tools.NAME --help``.

Converters (``from_coco``, ``from_voc``, …) write a lake from annotation files,
``to_coco`` writes annotation files from a lake, ``inspect`` shows what a lake holds,
``plan`` shows how the loader would read it, ``triage`` makes a page to look at what a
model got wrong.

Converters check all input before they write anything. On a local disk, a failure or an
interrupt leaves an existing lake unchanged and no half-written one behind; for other
storage see ``lake/writer.py``.
"""
