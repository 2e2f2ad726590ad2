"""The stock tools on BCCD, as COCO files and as lakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from stock_tools import StockTools


@pytest.fixture(scope='session')
def run_tool(lake: Callable[[str], str], shared_data: Path) -> StockTools:
    """Runs a stock tool, which must end well."""
    return StockTools(
        dict(
            BCCD_FILES=str(shared_data / 'bccd'),
            BCCD_TRAIN_LAKE=lake('bccd_train'),
            BCCD_VAL_LAKE=lake('bccd_val'),
        )
    )
