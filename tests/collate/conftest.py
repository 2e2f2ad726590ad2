"""Every test begins in a process that has received nothing."""

from __future__ import annotations

import pytest

from mmdet_deeplake_plugin.collate import leases


@pytest.fixture(autouse=True)
def no_pools() -> None:
    """Forgets blocks that this process has written and received by itself."""
    leases._pools.clear()
