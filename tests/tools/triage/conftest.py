"""A lake with predictions of two runs, its page, and a browser to look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import Watched, started_browser
from helpers.lakes import write_lake
from helpers.predictions import CASES, predict, predict_cases, rows_of_cases
from helpers.triage_data import CLASSES, COUNT, FILE_NAME, OTHERS

from mmdet_deeplake_plugin.tools.triage import triage


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A lake with a row for each case, and predictions on the branch ``runs/a``."""
    path = write_lake(tmp_path / 'lake', rows_of_cases())
    predict_cases(path)
    return path


@pytest.fixture(scope='module')
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake of many images with hostile names, and the runs ``a`` and ``b``."""
    rows = rows_of_cases(COUNT, file_name=FILE_NAME.format, image_id=lambda n: 7 * n)
    folder = tmp_path_factory.mktemp('triage')
    path = write_lake(folder / 'a lake', rows, class_names=CLASSES)
    predict_cases(path, COUNT)
    kinds = {number: number % len(CASES) for number in range(COUNT)}
    found = {n: OTHERS.get(kind, CASES[kind][0]) for n, kind in kinds.items()}
    predict(path, found, branch='runs/b')
    return path


@pytest.fixture(scope='module')
def page_folder(many: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the run ``a``, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp('pages') / 'a page'
    triage(f'{many}@runs/a', folder)
    return folder


@pytest.fixture(scope='module')
def browser() -> Iterator[Any]:
    """Chromium."""
    with started_browser() as running:
        yield running


@pytest.fixture
def watched(browser: Any) -> Iterator[Callable[..., Watched]]:
    """Makes pages of the browser; nothing may have gone wrong in them in the end."""
    made: list[Watched] = []

    def make(**options: Any) -> Watched:
        made.append(Watched(browser, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
