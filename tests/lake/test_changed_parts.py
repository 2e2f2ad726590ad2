"""A Deep Lake that changes a private part: one warning says so, and rows come all the same.

``test_private_parts.py`` has what the parts are like. Here Deep Lake is made to differ, as
a new version might, and a lake is read.
"""

from __future__ import annotations

import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import deeplake
import numpy as np
import pytest
from helpers import ROOT
from helpers.chunked import Seen, image, intact, run, write_chunked
from helpers.lakes import box_type, open_lake, write_lake

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.lake import changed_parts
from mmdet_deeplake_plugin.lake.columns import roles
from mmdet_deeplake_plugin.lake.connection import resolve_object
from mmdet_deeplake_plugin.lake.images import chunk_files
from mmdet_deeplake_plugin.lake.images.chunk_map import map_chunks

SIZES = [4, 9, 5]
NEWEST = (
    rf'deeplake {re.escape(changed_parts.NEWEST_TESTED)} is the newest version that was '
    r'tested with this package \(docs/versions.md\)$'
)
LAYOUT = (
    rf'^deeplake {re.escape(deeplake.__version__)} stores images in another layout than '
    rf'earlier versions: they are read by Deep Lake, which is slower\. {NEWEST}'
)


@pytest.fixture(scope='module')
def path(tmp_path_factory) -> str:
    """Path of a lake of three chunks; no test changes it."""
    return write_chunked(tmp_path_factory.mktemp('lakes') / 'lake', SIZES)


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch) -> None:
    """Every test begins as a process does."""
    monkeypatch.setattr(changed_parts, '_told', set())


def read_all(path: str) -> list[dict]:
    """Every sample of a lake, by two forked workers."""
    dataset = DeepLakeDataset(path, pipeline=[Seen()])
    sampler = DeepLakeLoader(dataset, shuffle='lanes', lanes=2, seed=0)
    return run(dataset, sampler, num_workers=2, batch_size=2)


def told(logged: list[str]) -> list[str]:
    """Warnings about the version of Deep Lake."""
    return [text for text in logged if text.startswith('deeplake ')]


def test_the_version_that_is_named_is_the_one_that_is_tested():
    """What ``make setup`` installs."""
    pins = (ROOT / '.ci' / 'requirements.txt').read_text().split()
    assert f'deeplake=={changed_parts.NEWEST_TESTED}' in pins


def test_nothing_is_told_of_a_version_that_changes_nothing(path, logged):
    """With the version that is installed here."""
    assert intact(read_all(path))
    assert told(logged) == []


@pytest.mark.parametrize('report', ['none', 'empty', 'another'])
def test_without_the_report_of_chunks(report, path, logged, monkeypatch):
    """Rows are read in blocks."""
    reports = {'empty': {}, 'another': {'images': object()}}
    for kind in (deeplake.Dataset, deeplake.ReadOnlyDataset):
        if report == 'none':
            monkeypatch.delattr(kind, '_datafiles_report')
        else:
            monkeypatch.setattr(kind, '_datafiles_report', reports[report])
    seen = read_all(path)
    assert intact(seen) and len(seen) == sum(SIZES)
    (text,) = told(logged)
    assert re.match(
        r'^deeplake \S+ does not tell where the chunks of a column are as earlier '
        r'versions did: rows are read by Deep Lake in blocks, which is slower \(.*\)\. '
        + NEWEST,
        text,
    )


def test_a_view_never_had_the_report(path, logged):
    """Nothing has changed, so there is no warning."""
    view = open_lake(path, writable=False).query('SELECT * WHERE image_id > 1')
    assert not map_chunks(view, 'images').stored
    assert told(logged) == []


def big_endian(stream: Any, count: int, size: int) -> Any:
    """Numbers as a file of another layout would hold them."""
    if 4 * count > size:
        raise EOFError
    return np.frombuffer(stream.read(4 * count), '>u4').astype(np.uint32)


LAYOUTS = {
    'other-numbers': ('_numbers', big_endian),
    'other-version-text': ('_VERSION', re.compile(rb'layout \d')),
    'images-elsewhere': (
        'read_layout',
        lambda stream, size, read=chunk_files.read_layout: shifted(read(stream, size)),
    ),
    'more-behind-the-images': (
        'read_layout',
        lambda stream, size, read=chunk_files.read_layout: read(stream, size + 7),
    ),
}


def shifted(layout: chunk_files.Layout) -> chunk_files.Layout:
    """A layout that is off by a byte."""
    layout.begin -= 1
    return layout


@pytest.mark.parametrize('layout', LAYOUTS)
def test_an_unknown_layout_of_chunks(layout, path, logged, monkeypatch):
    """Rows are read by Deep Lake, and no file is taken for truncated."""
    monkeypatch.setattr(chunk_files, *LAYOUTS[layout])
    seen = read_all(path)
    assert intact(seen) and len(seen) == sum(SIZES)
    (text,) = told(logged)
    assert re.match(LAYOUT, text)


@pytest.mark.parametrize('left', [0, 3, 40, 0.5])
def test_a_truncated_file_is_not_taken_for_another_layout(left, logged):
    """Whatever is left of it: nothing, a part of the layout, a part of the images."""
    images = [image(number) for number in range(9)]
    sizes = np.array([len(each) for each in images])
    places = np.cumsum([0, *sizes[:-1]])
    table = np.stack([sizes, places, np.arange(9)], axis=1).astype('<u4')
    head = b'\x054.7.4' + np.array([1, 3, 8, 8, 3, 9], '<u4').tobytes()
    content = head + table.tobytes() + b''.join(images)
    whole = chunk_files.read_layout(BytesIO(content), len(content))
    assert whole.is_exact and whole.is_known(9, len(content))
    part = content[: int(left * len(content)) if isinstance(left, float) else left]
    layout = chunk_files.read_layout(BytesIO(part), len(part))
    assert not layout.is_exact and layout.is_known(9, len(part))
    assert not layout.is_known(9, 100_000) or layout.table.size


def test_an_unknown_pickle_of_a_dataset(path, monkeypatch):
    """The public way is asked for."""
    monkeypatch.setattr(resolve_object, '_describe', lambda dataset: [{}])
    text = (
        '^dataset= must tell the address of its lake, but none was found in it; use '
        'deeplake_path and deeplake_query instead$'
    )
    with pytest.raises(ValueError, match=text):
        DeepLakeDataset(dataset=open_lake(path, writable=False))


def test_an_unknown_text_of_a_type(tmp_path, monkeypatch):
    """The error names the key; with it, the column is read."""
    boxes = box_type('ltwh', 'pixel', nullable=True)
    path = write_lake(tmp_path / 'lake', columns=dict(boxes=boxes))
    known = [list(sample['instances']) for sample in DeepLakeDataset(path)]
    monkeypatch.setattr(roles, '_KINDS_INSIDE', {})
    with pytest.raises(ValueError, match=r"^deeplake_tensors\['gt_bboxes'\] is not set"):
        DeepLakeDataset(path)
    named = DeepLakeDataset(path, deeplake_tensors=dict(gt_bboxes='boxes'))
    assert [list(sample['instances']) for sample in named] == known


FORK = """
import os
fork = os.fork
import deeplake
os.fork = fork
import mmdet_deeplake_plugin
assert os.fork is not fork
"""


def test_a_deep_lake_that_does_not_replace_fork(tmp_path):
    """There is a warning at import; forks still wait for calls. Whether they crash is chance."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', FORK],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    assert output.count('does not replace os.fork as earlier versions did: forked') == 1
    assert "env_cfg=dict(mp_cfg=dict(mp_start_method='spawn'))" in output


def test_each_change_is_told_once(logged):
    """Not for each lake or file; another change causes another warning."""
    for _ in range(3):
        changed_parts.warn_changed('does this', 'that happens')
        changed_parts.warn_changed('does another thing', 'that happens')
    assert len(told(logged)) == 2
    assert Path(ROOT, 'docs', 'versions.md').is_file()
