"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """Folder with the real images (``bccd``, ``coco_cc``) beside the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip('real test images are absent: ../shared/data does not exist')
    return SHARED_DATA
