"""Read annotation files for re-identification: an image and a person in each line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ....lake import names
from ..checks import read_text
from ..images import check_files, stored_size


def read_persons(path: Path, folder: Path) -> dict[str, Any]:
    """Read an annotation file, such as MMDetection's ``mot2reid.py`` writes it.

    Args:
        path: Text file; a line is ``NAME NUMBER``.
        folder: Folder of the images.

    Returns:
        The content of a COCO file without annotations, whose images have ``person_id``.
    """
    lines = read_text(path).splitlines()
    images: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        name, _, person = line.strip().partition(' ')
        if not person.isdecimal() or int(person) >= 2**63:
            raise ValueError(
                f'{path}, line {number} must hold the name of an image and the number of '
                f'a person, such as a/000001.jpg 0, got {line!r:.80}'
            )
        images.append({'id': number, 'file_name': name, names.PERSON_ID: int(person)})
    check_files(folder, [image['file_name'] for image in images], 'images')
    for image in images:
        name = image['file_name']
        size = stored_size((folder / name).read_bytes(), name)
        image.update(zip(('width', 'height'), size))
    return dict(images=images, categories=[dict(id=1, name='person')], annotations=[])
