"""Format parts of error messages, and log warnings."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable

from mmengine.logging import print_log


def did_you_mean(name: object, names: Iterable[str]) -> str:
    """Return ``' (did you mean X?)'`` for the closest of ``names``, ``''`` if none is.

    Upper and lower case count as equal.
    """
    known = {each.lower(): each for each in names}
    matches = difflib.get_close_matches(str(name).lower(), list(known), n=1, cutoff=0.6)
    return f' (did you mean {known[matches[0]]}?)' if matches else ''


def first_line(error: BaseException) -> str:
    """Return an error's first line, without the quotes that ``KeyError`` adds."""
    text = str(error.args[0]) if error.args else ''
    lines = text.strip().splitlines()
    return lines[0] if lines else type(error).__name__


def comma_joined(names: Iterable[str]) -> str:
    """Join names with commas; ``'none'`` if there are none."""
    return ', '.join(names) or 'none'


def warn(text: str) -> None:
    """Log a warning with MMEngine's current logger."""
    print_log(text, logger='current', level=logging.WARNING)
