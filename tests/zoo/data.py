"""Test data for stock configs, made on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from zoo.shapes import MAKERS, Files
from zoo.source import Source


class ZooData:
    """Makes files and lakes, each shape once.

    Args:
        folder: Where to write.
        source: Folder of ``coco_cc``.

    Attributes:
        lakes: Annotation file -> path of the lake of the same data.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        self._folder = folder
        self._source = Source(source)
        self._made: dict[tuple[str, tuple[str, ...]], Files] = {}
        self.lakes: dict[str, str] = {}

    def files(self, kind: str, classes: Sequence[str]) -> Files:
        """The keys by which a stock dataset finds its files.

        Args:
            kind: Key of ``shapes.MAKERS``.
            classes: Class names.
        """
        shape = (kind, tuple(classes))
        if shape not in self._made:
            digest = hashlib.sha256(repr(shape).encode()).hexdigest()[:12]
            folder = self._folder / f'{kind}_{digest}'
            folder.mkdir()
            files, lake = MAKERS[kind](folder, self._source, shape[1])
            self._made[shape] = files
            self.lakes[files['ann_file']] = lake
        return self._made[shape]
