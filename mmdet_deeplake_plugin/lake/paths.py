"""Write and parse the paths from which MMEngine loads images and maps of a lake.

- ``deeplake://<key>/<row>/<name>``: the image of a row.
- ``deeplake://<key>/<row>/blank-<width>x<height>/<name>``: a black image instead of it.
- ``deeplake://<key>/<row>/seg-map-<width>x<height>/<stem>.png``: its segmentation map.

``<key>`` identifies an open lake of the process, see :func:`~.lake.find_lake`. The last
part has the extension of an image because tools use it to name their results.
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
    """Parts of a path.

    Args:
        key: Key of the lake.
        row: Row number.
        kind: ``'image'``, ``'blank'`` or ``'seg-map'``.
        size: Width and height in pixels, of the black image or of the image that the map
            belongs to; ``None`` for images.
    """

    key: str
    row: int
    kind: str = 'image'
    size: tuple[int, int] | None = None

    @classmethod
    def parse(cls, path: object) -> LakePath:
        """Parse a path.

        Args:
            path: The path.

        Raises:
            ValueError: If the path does not belong to a lake.
        """
        match = _PATH.match(str(path))
        if match is None:
            raise ValueError(
                f'{path!r} is not the path of a lake image ({PREFIX}://<key>/<row>/'
                '<name>); only DeepLakeDataset makes such paths'
            )
        kind = match['kind']
        size = (int(match['width']), int(match['height'])) if kind else None
        return cls(match['key'], int(match['row']), kind or 'image', size)

    def with_name(self, name: str) -> str:
        """Write the path.

        Args:
            name: File name with the extension of an image.
        """
        size = '' if self.size is None else '{}-{}x{}/'.format(self.kind, *self.size)
        return f'{PREFIX}://{self.key}/{self.row}/{size}{name}'


def blank_size(path: object) -> tuple[int, int] | None:
    """Return width and height of a black image's path; ``None`` for other paths."""
    match = _PATH.match(str(path))
    if match is None or match['kind'] != 'blank':
        return None
    return int(match['width']), int(match['height'])
