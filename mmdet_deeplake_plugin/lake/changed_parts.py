"""Tell that a new version of Deep Lake has changed a private part that is used here.

Behind each private part is a slower or poorer way, which is taken then. Without a word
a run would only be slower, and nobody would know why.
"""

from __future__ import annotations

from importlib.metadata import version

from ..utils.messages import warn

NEWEST_TESTED = '4.7.4'

_told: set[str] = set()


def warn_changed(what: str, instead: str) -> None:
    """Log a warning about a private part, once per process.

    Args:
        what: What the installed Deep Lake does in another way, as the rest of a sentence.
        instead: What happens now, and what that costs.
    """
    if what in _told:
        return
    _told.add(what)
    warn(
        f'deeplake {version("deeplake")} {what}: {instead}. deeplake {NEWEST_TESTED} is '
        'the newest version that was tested with this package (docs/versions.md)'
    )
