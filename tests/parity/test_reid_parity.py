"""Re-identification: ``DeepLakeReIDDataset`` against ``ReIDDataset``, and ``from_reid``."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.clips import write_persons
from helpers.samples import assert_equal, seeded, stock_config
from mmdet.datasets import ReIDDataset
from mmdet.utils import register_all_modules
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeReIDDataset
from mmdet_deeplake_plugin.tools.from_reid import from_reid, main

register_all_modules()
CONFIG = stock_config('_base_/datasets/mot_challenge_reid.py')
TRIPLETS = dict(num_ids=3, ins_per_id=4)


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train.txt``, ``imgs`` and the lake that was made of them."""
    folder = tmp_path_factory.mktemp('persons')
    from_reid(write_persons(folder), folder / 'imgs', folder / 'lake')
    return folder


def pair(root: Path, **keys: Any) -> tuple[DeepLakeReIDDataset, ReIDDataset]:
    prefix = dict(img_path=str(root / 'imgs'))
    files = ReIDDataset(ann_file=str(root / 'train.txt'), data_prefix=prefix, **keys)
    return DeepLakeReIDDataset(str(root / 'lake'), **keys), files


def test_images(root: Path) -> None:
    """One by one, as in a test."""
    lake, files = pair(root, pipeline=CONFIG.test_pipeline, test_mode=True)
    assert len(lake) == len(files) == 20
    for index in range(20):
        assert_equal(lake[index], files[index])


def test_triplets(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same persons and images, which are read together; also in a worker that is spawned."""
    keys = dict(pipeline=CONFIG.train_pipeline, triplet_sampler=TRIPLETS)
    lake, files = pair(root, **keys)
    asked: list[list[int]] = []
    monkeypatch.setattr(lake.frames.reader, 'prepare', lambda rows: asked.append(list(rows)))
    for index in (0, 7, 19):
        ours, theirs = (seeded(partial(data.__getitem__, index), 3) for data in (lake, files))
        assert_equal(ours, theirs)
    assert [len(rows) for rows in asked] == [12, 12, 12]
    monkeypatch.undo()
    again = pickle.loads(pickle.dumps(lake))
    assert_equal(*(seeded(partial(data.__getitem__, 5), 4) for data in (again, files)))


def test_a_batch_of_single_images_is_read_at_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a test without triplets; the last batch is smaller."""
    lake, files = pair(root, pipeline=CONFIG.test_pipeline, test_mode=True)
    lake.full_init()
    asked: list[list[int]] = []
    prepare = lake.frames.reader.prepare
    monkeypatch.setattr(
        lake.frames.reader, 'prepare', lambda rows: asked.append(rows) or prepare(rows)
    )
    batches = DataLoader(lake, batch_size=8, collate_fn=list)
    samples = [sample for batch in batches for sample in batch]
    for index in range(20):
        assert_equal(samples[index], files[index])
    assert [len(rows) for rows in asked] == [8, 8, 4]


def test_some_of_the_images(root: Path) -> None:
    """Triplets are made of these alone; stock draws of all, and fails beyond the last."""
    keys = dict(pipeline=[], triplet_sampler=dict(num_ids=2, ins_per_id=2))
    chosen = DeepLakeReIDDataset(str(root / 'lake'), indices=range(10), **keys)
    assert len(chosen) == 10
    assert {int(label) for index in range(10) for label in chosen[index]['gt_label']} == {0, 1}
    lake, files = pair(root, indices=-3)
    assert [lake.get_data_info(i)['gt_label'] for i in range(3)] == [
        files.get_data_info(i)['gt_label'] for i in range(3)
    ]


BAD = {
    'empty': ('', "'images' must not be empty"),
    'no person': ('a.jpg\n', r"line 1 must hold the name of an image .* got 'a.jpg'"),
    'a blank line': ('0/000000.jpg 0\n\n', "line 2 must hold the name .* got ''"),
    'spaces': ('a b.jpg 0\n', "line 1 must hold .* got 'a b.jpg 0'"),
    'text': ('0/000000.jpg one\n', "line 1 .* got '0/000000.jpg one'"),
    'negative': ('0/000000.jpg -1\n', "line 1 .* got '0/000000.jpg -1'"),
    'huge': (f'0/000000.jpg {2**63}\n', 'line 1 must hold the name'),
    'no image': ('0/9.jpg 0\n', "1 of 1 images are missing in .*; the first is '0/9.jpg'"),
    'not an image': ('../train.txt 0\n', 'train.txt cannot be decoded; replace or remove'),
    'bytes': (b'\xff\xfe', 'train.txt must be a text file in UTF-8'),
    'no file': (None, 'train.txt does not exist'),
}


@pytest.mark.parametrize('kind', BAD)
def test_bad_files(kind: str, tmp_path: Path) -> None:
    """Each mistake is named with its line, and nothing is left behind."""
    content, text = BAD[kind]
    file = write_persons(tmp_path)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        from_reid(file, tmp_path / 'imgs', tmp_path / 'lake')
    assert not (tmp_path / 'lake').exists()


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A summary, or one line and exit code 2."""
    argv = [str(write_persons(tmp_path)), str(tmp_path / 'imgs'), str(tmp_path / 'lake')]
    assert main(argv) == 0
    assert capsys.readouterr().out.endswith('wrote 20 images from train.txt\n')
    assert main(argv) == 2
    assert 'already contains a lake; pass --overwrite' in capsys.readouterr().err
