"""Read annotation files for re-identification: an image and a person in each line."""

from __future__ import annotations

from pathlib import Path


def read_persons(path: Path) -> tuple[list[str], list[int]]:
    """Read an annotation file, such as MMDetection's ``mot2reid.py`` writes it.

    Args:
        path: Text file; a line is ``NAME NUMBER``.

    Returns:
        The images and their persons.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is empty, or a line is wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f'annotation file {path} does not exist')
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} must be a text file in UTF-8: {error}') from error
    if not lines:
        raise ValueError(f'{path} must have a line for each image, but is empty')
    files, persons = [], []
    for number, line in enumerate(lines, start=1):
        parts = line.strip().split(' ')
        if len(parts) != 2 or not parts[1].isdecimal() or int(parts[1]) >= 2**63:
            raise ValueError(
                f'{path}, line {number} must hold the name of an image and the number of '
                f'a person, such as a/000001.jpg 0, got {line!r:.80}'
            )
        files.append(parts[0])
        persons.append(int(parts[1]))
    return files, persons
