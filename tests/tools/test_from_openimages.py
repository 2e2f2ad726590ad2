"""OpenImages: what ``from_openimages`` writes and refuses, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.lakes import open_lake
from helpers.samples import assert_equal
from mmdet.evaluation import OpenImagesMetric
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules
from zoo.open_images import make_challenge, make_openimages
from zoo.source import Source

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.tools.from_openimages import from_openimages, main

register_all_modules()
CLASSES = tuple(f'class {label}' for label in range(24))
MAKERS = {'OpenImagesDataset': make_openimages, 'OpenImagesChallengeDataset': make_challenge}


@pytest.fixture(scope='module', params=MAKERS)
def both(request: Any, shared_data: Path, tmp_path_factory: Any) -> tuple[Any, DeepLakeDataset]:
    """The stock dataset on files, and the lake of the same files."""
    folder = tmp_path_factory.mktemp('openimages')
    files, lake = MAKERS[request.param](folder, Source(shared_data / 'coco_cc'), CLASSES)
    return DATASETS.build({'type': request.param, **files}), DeepLakeDataset(lake)


def test_samples_equal_those_of_the_stock_datasets(both: Any) -> None:
    """Boxes, flags and verified labels of images, digit for digit."""
    files, lake = both
    assert lake.metainfo['classes'] == tuple(files.metainfo['classes'])
    assert len(lake) == len(files) > 30
    for index in range(len(lake)):
        info = lake.get_data_info(index)
        assert info.pop('seg_map_path') is None
        assert_equal(info, files.get_data_info(index))


OPTIONS = {
    'defaults': {},
    'several thresholds': dict(iou_thrs=[0.3, 0.75], ioa_thrs=[0.4, 0.6]),
    'no hierarchy': dict(get_supercategory=False),
    'no filter': dict(filter_labels=False),
}


@pytest.mark.parametrize('kind', OPTIONS)
@pytest.mark.parametrize('count', [1, None], ids=['one image', 'all images'])
def test_numbers_equal_those_of_open_images_metric(both: Any, kind: str, count: Any) -> None:
    """With ties, false alarms, groups and classes that include others.

    The stock metric reads ``is_group_of``, which the stock dataset of the challenge calls
    ``is_group_ofs``: it is lent the key.
    """
    files, lake = both
    random = np.random.default_rng(3)
    ours, stock = DeepLakeMetric('OpenImages', **OPTIONS[kind]), OpenImagesMetric(**OPTIONS[kind])
    ours.dataset_meta, stock.dataset_meta = lake.metainfo, files.metainfo
    count = count or len(lake)
    for index in range(count):
        info = lake.get_data_info(index)
        real = info['instances']
        boxes = np.array([part['bbox'] for part in real] * 2, np.float32).reshape(-1, 4)
        labels = np.array([part['bbox_label'] for part in real] * 2, np.int64)
        labels[random.random(len(labels)) < 0.3] = random.integers(len(CLASSES))
        found = dict(
            bboxes=torch.from_numpy(boxes + random.normal(0, 5, boxes.shape).astype(np.float32)),
            scores=torch.from_numpy(random.random(len(boxes)).round(1).astype(np.float32)),
            labels=torch.from_numpy(labels),
        )
        sample = files.get_data_info(index)
        for part in sample['instances']:
            part.setdefault('is_group_of', part.get('is_group_ofs'))
        stock.process({}, [{**sample, 'pred_instances': found}])
        ours.process({}, [{'img_path': info['img_path'], 'pred_instances': found}])
    expected = dict(stock.evaluate(count))
    assert dict(ours.evaluate(count)) == expected
    assert 0 < expected['openimages/mAP'] < 1


def test_groups_can_be_ordinary_boxes(both: Any) -> None:
    """Stock fails with ``use_group_of=False``; a find in a group is then a false alarm."""
    _, lake = both
    info = lake.get_data_info(0)
    group = next(p for p in info['instances'] if p.get('is_group_of', p.get('is_group_ofs')))
    x1, y1, x2, y2 = group['bbox']
    found = dict(
        bboxes=torch.tensor([[x1, y1, (x1 + x2) / 2, (y1 + y2) / 2]]),
        scores=torch.tensor([0.9]),
        labels=torch.tensor([group['bbox_label']]),
    )
    scores = {}
    for use in (True, False):
        metric = DeepLakeMetric('OpenImages', use_group_of=use)
        metric.dataset_meta = lake.metainfo
        metric.process({}, [{'img_path': info['img_path'], 'pred_instances': found}])
        scores[use] = metric.evaluate(1)['openimages/mAP']
    assert scores[True] > scores[False] == 0


def test_some_classes_only(both: Any) -> None:
    """Verified labels of other classes are left out too."""
    _, lake = both
    chosen = DeepLakeDataset(lake.lake.source.spec.path, metainfo=dict(classes=CLASSES[20:2:-1]))
    found = [chosen.get_data_info(i)['image_level_labels'].tolist() for i in range(3)]
    assert found == [[17, 0]] * 3


@pytest.mark.parametrize(('column', 'values', 'text'), [
    ('confidences', [1.0, 0.5], 'there must be one confidence for each label, found 2 for 1 labels'),
    ('image_level_labels', [9], 'labels must be 0 to 1, got 9; correct the row'),
])
def test_a_bad_row_of_image_level_labels(
    small: Path, column: str, values: list[float], text: str
) -> None:
    """The error counts labels, not boxes."""
    lake = convert(small)
    rows = open_lake(lake)
    rows[0][column] = np.array(values, np.asarray(rows[0][column]).dtype)
    rows.commit()
    with pytest.raises(ValueError, match=text):
        DeepLakeDataset(lake)


def test_a_lake_of_another_converter_is_refused(shared_data: Path, tmp_path: Path) -> None:
    """The error says what is missing, and what to write."""
    from zoo.people import make_crowdhuman

    _, path = make_crowdhuman(tmp_path, Source(shared_data / 'coco_cc'), CLASSES)
    dataset = DeepLakeDataset(path)
    metric = DeepLakeMetric('OpenImages')
    metric.dataset_meta = dataset.metainfo
    empty = dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=int))
    path = dataset.get_data_info(0)['img_path']
    metric.process({}, [{'img_path': path, 'pred_instances': empty}])
    with pytest.raises(ValueError, match=r'needs the hierarchy .*tools\.from_openimages, or write'):
        metric.evaluate(1)


HEADER = (
    'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,'
    'IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n'
)
LINE = 'a,x,/m/1,1,0.1,0.5,0.2,0.7,0,1,0,-1,0\n'
TREE = {'LabelName': '/m/0', 'Subcategory': [{'LabelName': '/m/1'}]}


@pytest.fixture
def small(tmp_path: Path, write_image: Any) -> Path:
    """Two images and two classes."""
    root = tmp_path / 'small'
    for name in 'ab':
        write_image(root / 'images' / f'{name}.jpg')
    (root / 'boxes.csv').write_text(HEADER + LINE + LINE.replace('a,x', 'b,x'))
    (root / 'boxes.txt').write_text('a.jpg\n#\n1\n2 0.1 0.2 0.5 0.7 1\n')
    (root / 'classes.csv').write_text('/m/1,Cat,1\n/m/2,Dog,2\n')
    (root / 'tree.json').write_text(json.dumps(TREE))
    (root / 'labels.csv').write_text('ImageID,LabelName,Confidence\na,/m/2,0\n')
    return root


def convert(root: Path, boxes: str = 'boxes.csv', **keys: Any) -> str:
    lake = root.parent / 'lake'
    files = (root / 'classes.csv', root / 'tree.json', root / 'labels.csv')
    from_openimages(root / boxes, root / 'images', lake, *files, **keys)
    return str(lake)


BAD = {
    'no columns': ('boxes.csv', LINE, 'must begin with a line that names its columns, but ImageID'),
    'short line': ('boxes.csv', HEADER + 'a,x,/m/1\n', r'boxes\.csv, line 2 must have 13 values'),
    'no boxes': ('boxes.csv', HEADER, 'must have a line for each box, but has none'),
    'unknown class': ('boxes.csv', HEADER + LINE.replace('/m/1', '/m/9'), "'/m/9' is not in the file"),
    'pixels': ('boxes.csv', HEADER + LINE.replace('0.5', '50'), "fraction from 0 to 1, got '50'"),
    'nan': ('boxes.csv', HEADER + LINE.replace('0.5', 'nan'), "fraction from 0 to 1, got 'nan'"),
    'flag': ('boxes.csv', HEADER + LINE.replace('-1', '2'), r"a flag must be 0, 1 or -1 .* got '2'"),
    'scattered': (
        'boxes.csv',
        HEADER + LINE + LINE.replace('a,x', 'b,x') + LINE,
        "line 4: the boxes of an image must follow each other, but 'a' occurs again",
    ),
    'no image': ('boxes.csv', HEADER + LINE.replace('a,x', 'c,x'), "1 of 1 images are missing"),
    'bytes': ('boxes.csv', b'\xff\xfe\x00', 'must be a CSV file in UTF-8'),
    'no file': ('boxes.csv', None, r'boxes\.csv does not exist; write the path'),
    'class twice': ('classes.csv', '/m/1,Cat\n/m/1,Dog\n', 'line 2: every class must occur once'),
    'no name': ('classes.csv', '/m/1\n', 'line 1 must hold id and name of a class'),
    'no classes': ('classes.csv', '', 'must number its classes 1, 2, …, without gaps'),
    'tree of text': ('tree.json', '{', 'must be JSON, or an array without pickled objects'),
    'tree of a list': ('tree.json', '[]', r'a node must be an object with LabelName and, if'),
    'tree without id': ('tree.json', '{"Subcategory": [{}]}', 'a node must have LabelName, got'),
    'tree of others': (
        'tree.json',
        '{"Subcategory": [{"LabelName": "/m/7"}]}',
        "'/m/7' is not in the file of classes",
    ),
    'confidence': ('labels.csv', 'ImageID,LabelName,Confidence\na,/m/1,yes\n', "0 to 1, got 'yes'"),
}
BAD_CHALLENGE = {
    'bytes': ('boxes.txt', b'\xff\xfe', r'boxes\.txt must be a text file in UTF-8'),
    'cut': ('boxes.txt', 'a.jpg\n#\n', 'line 1: an image must have a file name, a line that'),
    'count': ('boxes.txt', 'a.jpg\n#\nx\n', "line 3 must hold an integer, got 'x'"),
    'missing boxes': ('boxes.txt', 'a.jpg\n#\n2\n1 0 0 1 1 0\n', 'must have 2 boxes; the file ends'),
    'five parts': ('boxes.txt', 'a.jpg\n#\n1\n1 0 0 1 1\n', 'line 4 must hold label, four corners'),
    'label': ('boxes.txt', 'a.jpg\n#\n1\n3 0 0 1 1 0\n', 'the label must be 1 to 2, got 3'),
    'twice': ('boxes.txt', 'a.jpg\n#\n0\na.jpg\n#\n0\n', 'must name each image once'),
    'numbers': ('classes.csv', '/m/1,Cat,1\n/m/2,Dog,3\n', 'without gaps'),
    'no number': ('classes.csv', '/m/1,Cat\n', 'must hold id, name and number of a class'),
}
CASES = {**BAD, **{f'challenge: {key}': value for key, value in BAD_CHALLENGE.items()}}


@pytest.mark.parametrize('kind', CASES)
def test_bad_input(small: Path, kind: str) -> None:
    """Each mistake is named with its file, and nothing is left behind."""
    name, content, text = CASES[kind]
    file = small / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    boxes = 'boxes.txt' if kind.startswith('challenge') else 'boxes.csv'
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        convert(small, boxes)
    assert [path.name for path in small.parent.iterdir()] == ['small']


def test_a_tree_of_another_size(small: Path) -> None:
    """The array of the challenge has a row more than there are classes."""
    with (small / 'tree.json').open('wb') as file:
        np.save(file, np.eye(5))
    with pytest.raises(ValueError, match=r'must have 3 rows and columns, .* got the shape \(5, 5\)'):
        convert(small)


def test_names_that_repeat_get_their_id(small: Path, logged: list[str]) -> None:
    """Labels stay, as names must be unique in a lake."""
    (small / 'classes.csv').write_text('LabelName,DisplayName\n/m/1,Cat\n/m/2,Cat\n')
    names = open_lake(convert(small), writable=False)['categories'].metadata['class_names']
    assert list(names) == ['Cat', 'Cat (/m/2)']
    assert any("two classes are named 'Cat'" in text for text in logged)


def test_a_mark_at_the_beginning_is_no_text(small: Path) -> None:
    """Files that Excel saved begin with a byte order mark."""
    (small / 'classes.csv').write_text('LabelName,DisplayName\n/m/1,Cat\n/m/2,Dog\n')
    for file in (*small.glob('*.csv'), small / 'tree.json'):
        file.write_text(file.read_text(), encoding='utf-8-sig')
    dataset = DeepLakeDataset(convert(small))
    assert dataset.metainfo['classes'] == ('Cat', 'Dog') and len(dataset) == 2


def test_command_line(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options reach the converter; a mistake is one line and exit code 2."""
    argv = [str(small / 'boxes.csv'), str(small / 'images'), str(small.parent / 'lake')]
    argv += ['--label-file', str(small / 'classes.csv'), '--hierarchy-file', str(small / 'tree.json')]
    assert main(argv) == 0
    assert capsys.readouterr().out.endswith('wrote 2 images, 2 boxes, 2 classes from boxes.csv\n')
    assert 'image_level_labels' not in DeepLakeDataset(argv[2]).get_data_info(0)
    assert main(argv) == 2
    assert 'already contains a lake; pass --overwrite' in capsys.readouterr().err
    assert main([*argv, '--overwrite']) == 0
