"""Box conventions: hand-computed, exact, and as real lakes declare them."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import PYTHON_V3
from helpers.lakes import HEIGHT, WIDTH, box_type, picture, row, write_lake
from mmdet.datasets import CocoDataset
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.structures.boxes import BOX_FORMATS, to_xywh, to_xyxy

# One box in an image of 64 x 40 pixels: left 16, top 5, right 48, bottom 25.
XYXY, XYWH = [16.0, 5.0, 48.0, 25.0], [16.0, 5.0, 32.0, 20.0]
SAME_BOX = {
    'xyxy': [16.0, 5.0, 48.0, 25.0],
    'xywh': [16.0, 5.0, 32.0, 20.0],
    'cxcywh': [32.0, 15.0, 32.0, 20.0],
    'xyxyn': [0.25, 0.125, 0.75, 0.625],
    'xywhn': [0.25, 0.125, 0.5, 0.5],
    'cxcywhn': [0.5, 0.375, 0.5, 0.5],
}
# The same with corners between pixels: left 0.25, top 1.5, right 0.75, bottom 4.25.
SUB_XYXY, SUB_XYWH = [0.25, 1.5, 0.75, 4.25], [0.25, 1.5, 0.5, 2.75]
SUB_PIXEL = {
    'xyxy': [0.25, 1.5, 0.75, 4.25],
    'xywh': [0.25, 1.5, 0.5, 2.75],
    'cxcywh': [0.5, 2.875, 0.5, 2.75],
    'xyxyn': [0.00390625, 0.0375, 0.01171875, 0.10625],
    'xywhn': [0.00390625, 0.0375, 0.0078125, 0.06875],
    'cxcywhn': [0.0078125, 0.071875, 0.0078125, 0.06875],
}
DECLARED = {
    ('ltrb', 'pixel'): 'xyxy',
    ('ltwh', 'pixel'): 'xywh',
    ('ccwh', 'pixel'): 'cxcywh',
    ('ltrb', 'fractional'): 'xyxyn',
    ('ltwh', 'fractional'): 'xywhn',
    ('ccwh', 'fractional'): 'cxcywhn',
}


@pytest.mark.parametrize('box_format', BOX_FORMATS)
def test_whole_pixels_are_exact(box_format):
    """The same box in each convention gives the same corners and sizes."""
    boxes = [SAME_BOX[box_format]]
    assert to_xyxy(boxes, box_format, WIDTH, HEIGHT).tolist() == [XYXY]
    assert to_xywh(boxes, box_format, WIDTH, HEIGHT).tolist() == [XYWH]


@pytest.mark.parametrize('box_format', BOX_FORMATS)
def test_fractions_of_a_pixel_are_kept(box_format):
    """Nothing is rounded; decimal fractions of 40 rows are off by a last bit at most."""
    boxes = [SUB_PIXEL[box_format]]
    exact = not box_format.endswith('n')
    for found, wanted in (
        (to_xyxy(boxes, box_format, WIDTH, HEIGHT), SUB_XYXY),
        (to_xywh(boxes, box_format, WIDTH, HEIGHT), SUB_XYWH),
    ):
        np.testing.assert_allclose(found, [wanted], rtol=0 if exact else 1e-15)


def test_each_box_is_scaled_by_its_own_image():
    """Widths and heights may differ from box to box."""
    boxes = [[0.25, 0.5, 0.5, 0.25]] * 2
    found = to_xyxy(boxes, 'xywhn', [64, 100], [40, 8])
    assert found.tolist() == [[16, 20, 48, 30], [25, 4, 75, 6]]


def test_boxes_stored_as_xywh_stay_bit_equal():
    """A width that left + width - left would change comes back as it is."""
    boxes = [[124.08, 315.4, 122.78, 214.39], [0.1, 0.2, 0.3, 0.7]]
    assert (124.08 + 122.78) - 124.08 != 122.78  # so this could go wrong
    assert to_xywh(boxes, 'xywh', WIDTH, HEIGHT).tolist() == boxes


def test_corners_are_those_of_coco_dataset(coco_files):
    """Every box of a COCO file becomes CocoDataset's box, to the last bit."""
    files = coco_files('coco_cc')
    content = json.loads(Path(files['ann_file']).read_text())
    names = [category['name'] for category in content['categories']]
    stock = CocoDataset(**files, metainfo=dict(classes=names))
    compared = 0
    for index in range(len(stock)):
        info = stock.get_data_info(index)
        boxes = [
            a['bbox'] for a in content['annotations'] if a['image_id'] == info['img_id']
        ]
        assert len(boxes) == len(info['instances'])  # this file has no degenerate box
        ours = to_xyxy(boxes, 'xywh', info['width'], info['height']).tolist()
        assert ours == [instance['bbox'] for instance in info['instances']]
        compared += len(boxes)
    assert compared == len(content['annotations'])


@pytest.mark.parametrize('box_format', BOX_FORMATS)
def test_single_precision_is_computed_in_double(box_format):
    """float32 input gives what the same numbers as doubles give."""
    rng = np.random.default_rng(0)
    single = rng.random((50, 4)).astype(np.float32)
    for convert in (to_xyxy, to_xywh):
        found = convert(single, box_format, 333, 777)
        assert found.dtype == np.float64
        assert np.array_equal(
            found, convert(single.astype(np.float64), box_format, 333, 777)
        )


@pytest.mark.parametrize('box_format', BOX_FORMATS)
def test_the_input_is_not_changed(box_format):
    """Conversion never writes into the caller's array."""
    boxes = np.random.default_rng(0).random((5, 4))
    before = boxes.copy()
    to_xyxy(boxes, box_format, 10, 20)
    to_xywh(boxes, box_format, 10, 20)
    assert np.array_equal(boxes, before)


@pytest.mark.parametrize('box_format', BOX_FORMATS)
@pytest.mark.parametrize('empty', [[], np.zeros((0, 4)), np.zeros((0, 0))], ids=repr)
def test_no_boxes_are_an_empty_table(box_format, empty):
    """Whatever the shape of nothing, the result is (0, 4)."""
    assert to_xyxy(empty, box_format, [], []).shape == (0, 4)
    assert to_xywh(empty, box_format, [], []).shape == (0, 4)


@pytest.mark.parametrize('box_format', BOX_FORMATS)
def test_random_boxes_agree_with_a_slow_loop(box_format):
    """A loop in plain Python over 300 boxes of images of all sizes says the same."""
    rng = np.random.default_rng(1)
    boxes = rng.random((300, 4)) * (1 if box_format.endswith('n') else 500)
    widths, heights = rng.integers(1, 2000, (2, 300))
    slow = [
        _slow_corners(box, box_format, w, h)
        for box, w, h in zip(boxes.tolist(), widths.tolist(), heights.tolist())
    ]
    assert to_xyxy(boxes, box_format, widths, heights).tolist() == slow
    x1, y1, x2, y2 = np.array(slow).T
    np.testing.assert_allclose(
        to_xywh(boxes, box_format, widths, heights),
        np.stack([x1, y1, x2 - x1, y2 - y1], axis=1),
        atol=1e-9,
    )


def test_centres_agree_with_mmdet():
    """cxcywh is mmdet's bbox_cxcywh_to_xyxy, there and back."""
    centred = torch.from_numpy(np.random.default_rng(2).random((200, 4)) * 300)
    ours = to_xyxy(centred.numpy(), 'cxcywh', 1, 1)
    np.testing.assert_allclose(ours, bbox_cxcywh_to_xyxy(centred).numpy(), atol=1e-12)
    back = bbox_xyxy_to_cxcywh(torch.from_numpy(ours))
    np.testing.assert_allclose(back.numpy(), centred.numpy(), atol=1e-12)


@pytest.mark.parametrize('wrong', ['XYXY', 'ltwh', 'xyxynn', 'n', '', None, 3], ids=repr)
def test_an_unknown_convention_is_refused(wrong):
    """The error names the key, what was given and the six conventions."""
    text = (
        'box_format must be one of xyxy, xywh, cxcywh, xyxyn, xywhn, cxcywhn (x and y in '
        'pixels; with the suffix n, fractions of the image width and height), got '
        f'{wrong!r}'
    )
    for convert in (to_xyxy, to_xywh):
        with pytest.raises(ValueError, match=re.escape(text)):
            convert([[0, 0, 1, 1]], wrong, 1, 1)


@pytest.mark.parametrize(
    ('declared', 'dtype', 'nullable'),
    [
        pytest.param(key, dtype, nullable, id=f'{"-".join(key)}-{dtype}-{nullable}')
        for key, dtype, nullable in itertools.product(
            DECLARED, ('float32', 'float64'), (False, True)
        )
    ],
)
def test_a_declared_convention_is_read_from_the_lake(declared, dtype, nullable, tmp_path):
    """For each format and unit that Deep Lake declares, the instances are exact."""
    dtype_box = box_type(*declared, dtype=dtype, nullable=nullable)
    box = SAME_BOX[DECLARED[declared]]
    rows = [row(0, [box]), row(1, [box, box]), row(2, [])]
    for values in rows:
        values['boxes'] = values['boxes'].reshape(-1, 4).astype(dtype)
    path = write_lake(tmp_path / 'lake', rows, {'boxes': dtype_box})
    dataset = DeepLakeDataset(path)
    assert dataset.lake.columns.box_format == DECLARED[declared]
    assert _boxes_of(dataset) == [[XYXY], [XYXY, XYXY], []]


def test_sub_pixel_boxes_keep_every_digit_of_a_double(tmp_path):
    """A float64 ltwh column gives exactly left + width of the stored doubles."""
    x, y, w, h = box = [12.345678901234567, 3.3, 7.7, 9.876543210987654]
    path = write_lake(tmp_path / 'lake', [row(0, [box])])
    assert _boxes_of(DeepLakeDataset(path)) == [[[x, y, x + w, y + h]]]


def test_single_precision_columns_give_the_rounded_numbers_in_double(tmp_path):
    """A float32 column gives what the rounded numbers give in double arithmetic."""
    box = np.array([12.3456789, 3.3, 7.7, 9.8765432], np.float32)
    values = {**row(0), 'boxes': box[None], 'categories': np.array([0], np.int32)}
    columns = {'boxes': box_type('ltwh', 'pixel', 'float32')}
    path = write_lake(tmp_path / 'lake', [values], columns)
    x, y, w, h = box.astype(float).tolist()
    assert _boxes_of(DeepLakeDataset(path)) == [[[x, y, x + w, y + h]]]


def test_a_null_row_of_a_nullable_column_has_no_boxes(tmp_path):
    """None in a nullable box column is an image without boxes."""
    empty = {**row(1, []), 'boxes': None}
    columns = {'boxes': box_type('ltrb', 'pixel', nullable=True)}
    path = write_lake(tmp_path / 'lake', [row(0, [XYXY]), empty], columns)
    assert _boxes_of(DeepLakeDataset(path)) == [[XYXY], []]


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_an_undeclared_convention_is_an_error(dtype, tmp_path):
    """Nothing is guessed: the error names the column and what to write."""
    columns = {'boxes': box_type(None, None, dtype)}
    values = row(0)
    values['boxes'] = values['boxes'].astype(dtype)
    path = write_lake(tmp_path / 'lake', [values], columns)
    text = "the box convention of column 'boxes' ("
    remedy = (
        'is not declared in the lake; write box_format= xyxy, xywh or cxcywh for pixels, xyxyn, xywhn or '
        'cxcywhn for fractions of the image'
    )
    with pytest.raises(ValueError, match=f'{re.escape(text)}.*{re.escape(remedy)}'):
        DeepLakeDataset(path)


@pytest.mark.parametrize('box_format', BOX_FORMATS)
def test_the_config_says_what_an_undeclared_column_means(box_format, tmp_path):
    """box_format reads a column whose type says nothing."""
    rows = [row(0, [SAME_BOX[box_format]])]
    path = write_lake(tmp_path / 'lake', rows, {'boxes': box_type(None, None)})
    assert _boxes_of(DeepLakeDataset(path, box_format=box_format)) == [[XYXY]]


@pytest.mark.parametrize('box_format', BOX_FORMATS)
def test_the_config_overrides_what_the_lake_declares(box_format, tmp_path):
    """A wrong declaration is corrected by box_format."""
    declared = ('ltrb', 'pixel') if box_format == 'xywh' else ('ltwh', 'pixel')
    rows = [row(0, [SAME_BOX[box_format]])]
    path = write_lake(tmp_path / 'lake', rows, {'boxes': box_type(*declared)})
    assert _boxes_of(DeepLakeDataset(path, box_format=box_format)) == [[XYXY]]


# In the v3 format the order and the unit stand in the metadata of the tensor.
V3_WRITER = """
import json, sys
import deeplake, numpy as np
image = np.frombuffer(open(sys.argv[2], 'rb').read(), np.uint8)
for name, coords, box in json.loads(sys.argv[3]):
    ds = deeplake.empty(f'{sys.argv[1]}/{name}')
    ds.create_tensor('images', htype='image', sample_compression='jpeg')
    ds.create_tensor('boxes', htype='bbox', **({'coords': coords} if coords else {}))
    ds.create_tensor('categories', htype='class_label', class_names=['cat', 'dog'])
    for count in (1, 2, 0):
        ds.append({
            'images': deeplake.read(sys.argv[2]),
            'boxes': np.array([box] * count, np.float32).reshape(-1, 4),
            'categories': np.array([1] * count, np.uint32),
        })
    ds.commit('three rows')
"""
V3_COORDS = {
    f'{mode}-{unit}': dict(mode=mode, type=unit)
    for mode, unit in itertools.product(('LTRB', 'LTWH', 'CCWH'), ('pixel', 'fractional'))
}


@pytest.fixture(scope='module')
def v3_lakes(tmp_path_factory) -> Path:
    """Folder with lakes in the format of Deep Lake 3, one a declaration."""
    if not PYTHON_V3.exists():
        pytest.skip('lakes in the v3 format need .venv-v3 (make .venv-v3/.ready)')
    folder = tmp_path_factory.mktemp('v3')
    image = folder / 'image.jpg'
    image.write_bytes(picture(128))
    jobs = [
        (name, coords, SAME_BOX[DECLARED[coords['mode'].lower(), coords['type']]])
        for name, coords in V3_COORDS.items()
    ]
    jobs.append(('undeclared', None, XYXY))
    command = [str(PYTHON_V3), '-c', V3_WRITER, str(folder), str(image), json.dumps(jobs)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize('name', V3_COORDS)
def test_the_coords_of_a_v3_lake_are_read(name, v3_lakes):
    """For each mode and type of coords in the v3 format, the instances are exact."""
    dataset = DeepLakeDataset(str(v3_lakes / name))
    assert _boxes_of(dataset) == [[XYXY], [XYXY, XYXY], []]
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert [dataset.get_cat_ids(index) for index in range(3)] == [[1], [1, 1], []]
    assert dataset.get_data_info(0)['width'] == WIDTH


def test_a_v3_lake_without_coords_is_an_error_until_the_config_says(v3_lakes):
    """Undeclared in the v3 format is an error too, and box_format the remedy."""
    path = str(v3_lakes / 'undeclared')
    with pytest.raises(ValueError, match=r'the box convention of column .* is not declared'):
        DeepLakeDataset(path)
    assert _boxes_of(DeepLakeDataset(path, box_format='xyxy'))[0] == [XYXY]


def _boxes_of(dataset: DeepLakeDataset) -> list:
    return [
        [instance['bbox'] for instance in dataset.get_data_info(index)['instances']]
        for index in range(len(dataset))
    ]


def _slow_corners(box: list, box_format: str, width: int, height: int) -> list:
    a, b, c, d = box
    if box_format.endswith('n'):
        a, b, c, d = a * width, b * height, c * width, d * height
    if box_format.startswith('xyxy'):
        return [a, b, c, d]
    if box_format.startswith('xywh'):
        return [a, b, a + c, b + d]
    return [a - c / 2, b - d / 2, a + c / 2, b + d / 2]
