"""Fixtures that the tests of the tools and of the demo share: image files and the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger

WriteImage = Callable[..., bytes]


@pytest.fixture
def write_image() -> WriteImage:
    """Writes a smooth colour image of a size and returns the file's bytes."""

    def write(path: Path, width: int = 40, height: int = 30) -> bytes:
        rows, columns = np.mgrid[:height, :width]
        planes = (rows * 255 // height, columns * 255 // width, (rows + columns) % 64)
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.stack(planes, axis=-1).astype(np.uint8))
        return path.read_bytes()

    return write


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Messages that the test's code logs through mmengine."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    # pytest's caplog does not see it: MMLogger stands outside of Python's tree.
    logger, handler = MMLogger.get_current_instance(), Collector()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
