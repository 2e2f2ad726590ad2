"""Write exported files: all targets are checked first, each is replaced atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def refuse_existing(
    option: str, file: str | os.PathLike[str] | None, overwrite: bool
) -> None:
    """Refuse a file that exists, unless it may be replaced or none is wanted."""
    if file is not None and os.path.exists(file) and not overwrite:
        raise FileExistsError(
            f'{option} {file} already exists; pass --overwrite to replace it'
        )


def as_json(value: Any) -> str:
    """Return JSON as files and columns hold it, with all characters as they are."""
    return json.dumps(value, ensure_ascii=False)


def check_targets(
    option: str,
    folder: str | os.PathLike[str] | None,
    names: Sequence[str],
    overwrite: bool,
) -> list[Path]:
    """Check where files of a folder would be written, before any is.

    Args:
        option: Command line option that names the folder, for error messages.
        folder: The folder, or None if the files are not wanted.
        names: File names relative to the folder.
        overwrite: Whether files that exist may be replaced.

    Returns:
        Absolute path of each file; an empty list without ``folder``.

    Raises:
        FileExistsError: If a file exists and ``overwrite`` is false.
        ValueError: If a name leads out of the folder or occurs more than once.
    """
    if folder is None:
        return []
    root = Path(folder).resolve()
    targets = [(root / name).resolve() for name in names]
    for name, target in zip(names, targets):
        if root not in target.parents:
            raise ValueError(
                f'file names must stay inside {option} {folder}, got {name!r}; correct '
                'it in the lake'
            )
        refuse_existing(f'{option}:', target, overwrite)
    repeated = len(targets) - len(set(targets))
    if repeated:
        raise ValueError(
            f'{option}: file names must be distinct, but {repeated} images have the name '
            f'of another image; remove {option}, or correct the names in the lake'
        )
    return targets


def replace_file(target: Path, content: bytes) -> None:
    """Write a file so that it is either complete or unchanged."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f'.{target.name}.partial')
    try:
        partial.write_bytes(content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
