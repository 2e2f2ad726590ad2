"""Build and parse the paths by which MMEngine loads images of a lake.

- ``deeplake://<key>/<row>/<name>``: the image of a row.
- ``deeplake://<key>/<row>/blank-<width>x<height>/<name>``: a black image in place of it.
- ``deeplake://<key>/<row>/seg-map-<width>x<height>/<stem>.png``: its segmentation map.

``<key>`` identifies an open lake of the process, see :func:`~.lake.find_lake`. Tools
name their results after the last part, so it has the extension of an image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = 'deeplake'

_PATH = re.compile(
    rf'{PREFIX}://(?P<key>[^/]*)/(?P<row>\d+)(?:/|$)'
    r'(?:(?P<kind>blank|seg-map)-(?P<width>\d+)x(?P<height>\d+)/)?'
)


@dataclass(frozen=True)
class LakePath:
    """The parts of a path.

    Args:
        key: Key of the lake.
        row: Row number.
        kind: ``'image'``, ``'blank'`` or ``'seg-map'``.
        size: Width and height in pixels of a black image or a segmentation map;
            ``None`` for images.
    """

    key: str
    row: int
    kind: str = 'image'
    size: tuple[int, int] | None = None

    @classmethod
    def parse(cls, path: object) -> LakePath:
        """Parse a path.

        Raises:
            ValueError: If it is not the path of a lake image.
        """
        match = _PATH.match(str(path))
        if match is None:
            raise ValueError(
                f'the path of a lake image must look like {PREFIX}://<key>/<row>/<name>, '
                f'got {path!r}; use the img_path of a DeepLakeDataset'
            )
        kind = match['kind']
        size = (int(match['width']), int(match['height'])) if kind else None
        return cls(match['key'], int(match['row']), kind or 'image', size)

    def with_name(self, name: str) -> str:
        """Return the path as text, with a file name that has an image's extension."""
        size = '' if self.size is None else '{}-{}x{}/'.format(self.kind, *self.size)
        return f'{PREFIX}://{self.key}/{self.row}/{size}{name}'


def blank_size(path: object) -> tuple[int, int] | None:
    """Return width and height of the black image at a path, ``None`` for other paths."""
    match = _PATH.match(str(path))
    if match is None or match['kind'] != 'blank':
        return None
    return int(match['width']), int(match['height'])
