"""Searches files and texts for secrets, in every form in which one may be written."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus


def forms(secret: str) -> set[bytes]:
    """A secret as it may be written: as it is, quoted, in base64 wherever it stands."""
    found = {secret.encode(), quote(secret, safe='').encode(), quote(secret).encode()}
    found.add(quote_plus(secret).encode())
    found.add(json.dumps(secret)[1:-1].encode())
    for shift in range(3):
        encoded = base64.b64encode(b'.' * shift + secret.encode())
        # Without what depends on the characters before and behind it.
        found.add(encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4])
    found.add(secret.encode().hex().encode())
    found.add(secret.encode('utf-16-le'))
    return found


def leaks(contents: Iterable[tuple[str, bytes]], secrets: Iterable[str]) -> set[str]:
    """Names of the contents in which a secret stands in any form."""
    wanted = set().union(*map(forms, secrets))
    return {name for name, content in contents if any(form in content for form in wanted)}


def files_below(*folders: Path) -> list[tuple[str, bytes]]:
    """Path and content of every file."""
    return [
        (str(file), file.read_bytes())
        for folder in folders
        for file in sorted(folder.rglob('*'))
        if file.is_file() and not file.is_symlink()
    ]
