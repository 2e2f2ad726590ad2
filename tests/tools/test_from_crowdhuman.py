"""CrowdHuman: what ``from_crowdhuman`` writes and refuses, and what becomes of it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.lakes import open_lake
from helpers.samples import assert_equal, seeded, stock_config
from mmdet.datasets import CrowdHumanDataset
from mmdet.evaluation import CrowdHumanMetric
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.tools.from_crowdhuman import from_crowdhuman, main

register_all_modules()
CONFIG = stock_config('crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py')


def gtbox(*full: float, tag: str = 'person', **attributes: Any) -> dict[str, Any]:
    x, y, w, h = full
    return {
        'tag': tag,
        'fbox': [x, y, w, h],
        'vbox': [x + 0.1, y, w - 0.1, h / 3],
        'hbox': [x + 1, y, w - 2, 0.7],
        **attributes,
    }


BODY, HEAD = {'extra': {'ignore': 1}}, {'head_attr': {'ignore': 1}}
LINES = [
    {'ID': 'b,1', 'gtboxes': [gtbox(3, 4, 20, 21), gtbox(1, 1, 9, 9, tag='mask')]},
    {'ID': 'a,2', 'gtboxes': [gtbox(-2.3, 2.7, 30.1, 50, **BODY), gtbox(5, 6, 9, 20, **HEAD)]},
    {'ID': 'c,3', 'gtboxes': [gtbox(2, 2, 30, 20, **BODY)]},
]


@pytest.fixture
def crowd(tmp_path: Path, write_image: Any) -> Path:
    """A folder with ``annotation_val.odgt`` and three images."""
    root = tmp_path / 'crowd'
    for line in LINES:
        write_image(root / 'Images' / f'{line["ID"]}.jpg')
    write_lines(root, LINES)
    return root


def write_lines(root: Path, lines: list[Any]) -> None:
    (root / 'annotation_val.odgt').write_text('\n'.join(map(json.dumps, lines)) + '\n')


def convert(root: Path, **kwargs: Any) -> str:
    lake = root.parent / 'lake'
    from_crowdhuman(root / 'annotation_val.odgt', root / 'Images', lake, **kwargs)
    return str(lake)


def stock(root: Path, **keys: Any) -> CrowdHumanDataset:
    return CrowdHumanDataset(
        data_root=str(root), ann_file='annotation_val.odgt', data_prefix=dict(img='Images'), **keys
    )


@pytest.mark.parametrize('part', ['train', 'val'])
def test_samples_equal_those_of_crowd_human_dataset(crowd: Path, part: str) -> None:
    """Before and after the pipeline of CrowdDet; as in stock, no image is filtered."""
    keys = dict(CONFIG[f'{part}_dataloader'].dataset)
    own = {k: keys[k] for k in ('pipeline', 'filter_cfg', 'test_mode') if k in keys}
    lake, files = DeepLakeDataset(convert(crowd), **own), stock(crowd, **own)
    assert len(lake) == len(files) == 3
    for index in range(3):
        info = lake.get_data_info(index)
        assert info.pop('seg_map_path') is None
        assert_equal(info, files.get_data_info(index))
        assert lake.get_cat_ids(index) == files.get_cat_ids(index)
        ours, theirs = (seeded(partial(data.__getitem__, index), 3) for data in (lake, files))
        assert_equal(ours, theirs)


def test_a_lake_keeps_what_the_file_says(crowd: Path) -> None:
    """Boxes digit for digit, and both kinds of ignored ones."""
    lake = open_lake(convert(crowd), writable=False)
    for name, key in (('boxes', 'fbox'), ('head_boxes', 'hbox'), ('visible_boxes', 'vbox')):
        stored = [np.asarray(lake[name][row]).tolist() for row in range(3)]
        assert stored == [[box[key] for box in line['gtboxes']] for line in LINES], name
    flags = {name: [lake[name][row].tolist() for row in range(3)] for name in ('iscrowd', 'head_ignore')}
    assert flags == {'iscrowd': [[0, 1], [1, 0], [1]], 'head_ignore': [[0, 1], [1, 1], [1]]}


def test_a_filter_without_effect_is_logged(crowd: Path, logged: list[str]) -> None:
    """And the style that filters is named."""
    DeepLakeDataset(path := convert(crowd), filter_cfg=dict(min_size=9999))
    assert any("no effect with annotation_style='crowdhuman'" in text for text in logged)
    with pytest.raises(ValueError, match='must keep samples'):
        DeepLakeDataset(path, filter_cfg=dict(min_size=9999), annotation_style='voc')


def predict(lake: DeepLakeDataset, seed: int = 0) -> list[dict[str, Any]]:
    """Boxes that are found twice, moved, or false; with ties of scores."""
    random = np.random.default_rng(seed)
    samples = []
    for index in range(len(lake)):
        info = lake.get_data_info(index)
        real = [part['bbox'] for part in info['instances'] if random.random() < 0.9]
        boxes = np.array(real * 2 + [[1, 2, 12, 14]], np.float32).reshape(-1, 4)
        boxes += random.normal(0, 2, boxes.shape).round(1)
        found = dict(
            bboxes=torch.from_numpy(boxes.astype(np.float32)),
            scores=torch.from_numpy(random.random(len(boxes)).round(1).astype(np.float32)),
            labels=torch.zeros(len(boxes), dtype=torch.int64),
        )
        shape = info['height'], info['width']
        samples.append({**info, 'ori_shape': shape, 'pred_instances': found})
    return samples


def scored(metric: Any, samples: list[dict[str, Any]]) -> dict[str, float]:
    metric.dataset_meta = dict(classes=('person',))
    metric.process({}, samples)
    return dict(metric.evaluate(len(samples)))


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize(
    'options', [{}, dict(iou_thres=0.3, mr_ref='CALTECH_-4', metric=['MR', 'JI'])]
)
def test_numbers_equal_those_of_crowd_human_metric(
    crowd: Path, options: dict[str, Any], seed: int
) -> None:
    """All of them, and the written file, with ignored boxes, ties and false alarms."""
    lake = DeepLakeDataset(convert(crowd), test_mode=True)
    samples = predict(lake, seed)
    texts, numbers = [], []
    renamed = {{'iou_thres': 'iou_thrs'}.get(key, key): options[key] for key in options}
    ann_file = str(crowd / 'annotation_val.odgt')
    for name, metric in (
        ('lake', DeepLakeMetric('CrowdHuman', outfile_prefix=str(crowd / 'lake'), **renamed)),
        (
            'files',
            CrowdHumanMetric(
                ann_file, outfile_prefix=str(crowd / 'files'), num_ji_process=1, **options
            ),
        ),
    ):
        numbers.append(scored(metric, samples))
        texts.append((crowd / f'{name}.json').read_text())
    assert numbers[0] == numbers[1] and len(numbers[0]) == len(options.get('metric', 'all'))
    assert texts[0] == texts[1]


def test_images_without_annotations_count(crowd: Path) -> None:
    """Stock fails on them; a false alarm there lowers the precision."""
    write_lines(crowd, [*LINES[:2], {'ID': 'c,3', 'gtboxes': []}])
    lake = DeepLakeDataset(convert(crowd), test_mode=True)
    numbers = scored(DeepLakeMetric('CrowdHuman'), predict(lake))
    assert set(numbers) == {'crowd_human/mAP', 'crowd_human/mMR', 'crowd_human/JI'}
    assert scored(DeepLakeMetric('CrowdHuman', format_only=True, outfile_prefix=str(crowd / 'x')), predict(lake)) == {}
    assert len(json.loads((crowd / 'x.json').read_text())) == 3


def test_options_of_stock_are_told_apart() -> None:
    """One threshold, and what to write for stock's keys."""
    with pytest.raises(ValueError, match=r'iou_thrs must be one number, got \[0.5\]'):
        DeepLakeMetric('CrowdHuman', iou_thrs=[0.5])
    with pytest.raises(ValueError, match=r'iou_thres=0\.4 has no meaning .*; write iou_thrs=0.5'):
        DeepLakeMetric('CrowdHuman', iou_thres=0.4)
    with pytest.raises(ValueError, match=r'num_ji_process=10 has no meaning .*; leave it out'):
        DeepLakeMetric('CrowdHuman', num_ji_process=10)


def test_nothing_to_find_is_an_error(crowd: Path) -> None:
    """Recall has no meaning without a person."""
    write_lines(crowd, [{'ID': 'c,3', 'gtboxes': [gtbox(2, 2, 30, 20, **BODY)]}])
    lake = DeepLakeDataset(convert(crowd), test_mode=True)
    with pytest.raises(ValueError, match='needs a person that is not ignored, but the 1 images'):
        scored(DeepLakeMetric('CrowdHuman'), predict(lake))


def _box(**changes: Any) -> list[Any]:
    return [{'ID': 'a,2', 'gtboxes': [{**gtbox(1, 2, 3, 4), **changes}]}]


BAD_LINES = {
    'not an object': ([[1]], r'line 1 must be a JSON object, got \[1\]'),
    'no id': ([{'gtboxes': []}], 'line 1: ID must be the name of the image without .jpg, got None'),
    'id of a number': ([{'ID': 3, 'gtboxes': []}], 'ID must be the name .* got 3'),
    'twice': ([LINES[0], LINES[1], LINES[0]], "line 3: ID must be unique, but 'b,1' occurs twice"),
    'no boxes': ([{'ID': 'a,2'}], 'line 1: gtboxes must be a list, got None; write'),
    'boxes of a dict': ([{'ID': 'a,2', 'gtboxes': {}}], 'gtboxes must be a list, got {}'),
    'box of a list': ([{'ID': 'a,2', 'gtboxes': [[1]]}], r'gtboxes\[0\] must be a JSON object'),
    'tag': (_box(tag='people'), r"gtboxes\[0\].tag must be one of person, mask, got 'people'"),
    'three numbers': (_box(fbox=[1, 2, 3]), r'gtboxes\[0\].fbox must be four finite numbers'),
    'text': (_box(hbox=[1, 2, 3, '4']), r"hbox must be four .* got \[1, 2, 3, '4'\]"),
    'nan': (_box(vbox=[1, 2, 3, float('nan')]), 'vbox must be four finite numbers'),
    'missing': (_box(vbox=None), 'vbox must be four finite numbers .* got None'),
    'huge': (_box(fbox=[1, 2, 3, 10**400]), 'fbox must be four finite numbers'),
    'ignore': (_box(extra={'ignore': 'yes'}), r"gtboxes\[0\].extra .* 0 or 1, got {'ignore': 'yes'}"),
    'head': (_box(head_attr=[1]), r'gtboxes\[0\].head_attr must be an object in which ignore'),
    'no image': ([{'ID': 'd', 'gtboxes': []}], "1 of 1 images are missing in .*; the first is 'd.jpg'"),
}


@pytest.mark.parametrize('kind', BAD_LINES)
def test_bad_lines(crowd: Path, kind: str) -> None:
    """Each mistake is named with its line, and nothing is left behind."""
    lines, text = BAD_LINES[kind]
    write_lines(crowd, lines)
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        convert(crowd)
    assert [path.name for path in crowd.parent.iterdir()] == ['crowd']


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (None, 'annotation_val.odgt does not exist; write the path of an .odgt file'),
        (b'', 'must have a line for each image, but is empty'),
        (b'\xff\xfe', 'must be a text file in UTF-8'),
        (b'{"ID": "a,2", "gtboxes": []}\n{', 'annotation_val.odgt, line 2 is not JSON'),
    ],
    ids=['none', 'empty', 'bytes', 'json'],
)
def test_bad_files(crowd: Path, content: bytes | None, text: str) -> None:
    """The file is named, and nothing is left behind."""
    file = crowd / 'annotation_val.odgt'
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        convert(crowd)
    assert [path.name for path in crowd.parent.iterdir()] == ['crowd']


def test_an_image_that_cannot_be_decoded(crowd: Path) -> None:
    """Its size is unknown; the lake that was there stays."""
    path = convert(crowd)
    (crowd / 'Images/a,2.jpg').write_bytes(b'\xff\xd8\xff')
    with pytest.raises(ValueError, match=r'a,2\.jpg cannot be decoded; replace or remove'):
        convert(crowd, overwrite=True)
    assert len(open_lake(path, writable=False)) == 3


def test_command_line(crowd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A summary, or one line and exit code 2."""
    argv = [str(crowd / 'annotation_val.odgt'), str(crowd / 'Images'), str(crowd / 'lake')]
    assert main(argv) == 0
    summary = 'wrote 3 images, 2 persons, 3 ignored boxes from annotation_val.odgt\n'
    assert capsys.readouterr().out.endswith(summary)
    assert main(argv) == 2
    assert 'already contains a lake; pass --overwrite' in capsys.readouterr().err
    assert main([*argv, '--overwrite']) == 0
