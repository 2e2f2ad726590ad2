"""Ways to store masks become COCO's segmentations without losing a pixel or a digit."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin.structures.masks import (
    as_text_counts,
    check_segmentations,
    counts_problem,
    pack_segmentations,
    segmentations_of_bitmaps,
    segmentations_of_polygons,
    too_few_points,
    unpack_segmentations,
)


@pytest.mark.parametrize('seed', range(5))
def test_packing_keeps_every_double(seed):
    """Random doubles of all magnitudes, integers and codes come back as they were."""
    rng = np.random.default_rng(seed)
    numbers = (rng.random(40) * 10.0 ** rng.integers(-12, 12, 40)).tolist()
    before = [[numbers, [1, 2, 3]], None, [], {'size': [3, 4], 'counts': '0`1"\\é'}]
    assert unpack_segmentations(pack_segmentations(before)) == before
    types = [
        type(x) for x in unpack_segmentations(pack_segmentations([[[1, 1.0]]]))[0][0]
    ]
    assert types == [int, float]


def test_packing_refuses_what_json_has_no_word_for():
    """NaN would make a text that other programs cannot read."""
    with pytest.raises(ValueError, match='not JSON compliant'):
        pack_segmentations([[[math.nan]]])


@pytest.mark.parametrize('dtype', [bool, np.uint8, np.int32, np.float32])
@pytest.mark.parametrize('order', ['C', 'F'])
def test_bitmaps_keep_every_pixel(dtype, order):
    """Random masks, an empty and a full one, of any number type and memory layout."""
    rng = np.random.default_rng(0)
    masks = (rng.random((23, 31, 7)) < 0.4).astype(dtype) * 1
    masks[..., 0], masks[..., 1] = 0, 1
    codes = segmentations_of_bitmaps(np.asarray(masks, order=order))
    assert all(isinstance(code['counts'], str) for code in codes)
    assert all(code['size'] == [23, 31] for code in codes)
    assert json.loads(json.dumps(codes)) == codes
    assert np.array_equal(coco_mask.decode(codes), masks.astype(np.uint8))


def test_bitmaps_of_any_positive_value_are_masks():
    """255 belongs to the instance as 1 does."""
    masks = np.array([[[0, 255], [128, 1]]], np.uint8)
    decoded = coco_mask.decode(segmentations_of_bitmaps(masks))
    assert decoded.tolist() == [[[0, 1], [1, 1]]]


def test_a_flat_mask_is_refused():
    """Without one layer per box it is not clear whose mask it is."""
    text = r'dense masks must have shape \(height, width, N\), got \(4, 5\); write one la'
    with pytest.raises(ValueError, match=text):
        segmentations_of_bitmaps(np.ones((4, 5), bool))


def test_polygons_are_flat_lists_of_doubles():
    """Stacked or ragged, single precision or whole numbers: x, y, x, y of each."""
    ragged = [np.arange(6).reshape(3, 2), np.arange(8, dtype=np.float32).reshape(4, 2)]
    assert segmentations_of_polygons(ragged) == [
        [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]],
        [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]],
    ]
    stacked = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    assert segmentations_of_polygons(stacked)[1] == [[6.0, 7.0, 8.0, 9.0, 10.0, 11.0]]
    assert segmentations_of_polygons(np.zeros((0, 0, 2), np.float32)) == []


@pytest.mark.parametrize(
    ('points', 'text'),
    [
        (np.zeros((2, 2)), 'instance 1: a polygon must have at least 3 points, got 2'),
        (np.zeros((0, 2)), 'instance 1: a polygon must have at least 3 points, got 0'),
        (np.zeros(6), r'instance 1: a polygon must have shape \(k, 2\), got \(6,\)'),
        (
            np.zeros((4, 3)),
            r'instance 1: a polygon must have shape \(k, 2\), got \(4, 3\)',
        ),
    ],
    ids=['two', 'none', 'flat', 'three-numbers'],
)
def test_wrong_polygons_are_named(points, text):
    """The error says which instance and what to write."""
    with pytest.raises(ValueError, match=text):
        segmentations_of_polygons([np.zeros((3, 2)), points])


def test_what_coco_dataset_passes_on_is_passed_on():
    """Empty lists and polygons of two points are left to LoadAnnotations."""
    check_segmentations([[], [[1, 2, 3, 4]], None, [[]]], 4, 9, 9)


@pytest.mark.parametrize(
    ('segmentation', 'too_few'),
    [
        ([[1, 2, 3, 4, 5, 6]], False),
        ([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4]], True),
        ([[1, 2, 3, 4, 5, 6, 7]], True),
        ([], False),
        (None, False),
        ({'size': [1, 1], 'counts': [1]}, False),
    ],
)
def test_polygons_that_load_annotations_leaves_out(segmentation, too_few):
    """Fewer than six numbers, or an odd number of them."""
    assert too_few_points(segmentation) is too_few


def test_counts_become_text_without_touching_the_code():
    """Bytes, which LoadAnnotations drops in silence, are decoded in a copy."""
    code = coco_mask.encode(np.asfortranarray(np.eye(3, dtype=np.uint8)))
    text = as_text_counts(code)
    assert isinstance(code['counts'], bytes) and isinstance(text['counts'], str)
    assert np.array_equal(coco_mask.decode(text), np.eye(3))
    assert as_text_counts(text) is text


def test_counts_of_real_codes_add_up() -> None:
    """Compressed counts are read as pycocotools writes them, long runs included."""
    rng = np.random.default_rng(0)
    for size in [(1, 1), (7, 5), (300, 400), (2000, 1500)]:
        for share in (0, 0.001, 0.5, 1):
            mask = (rng.random(size) < share).astype(np.uint8)
            (code,) = segmentations_of_bitmaps(mask[..., None])
            pixels = size[0] * size[1]
            assert counts_problem(code['counts'], pixels) == ''
            assert 'add up' in counts_problem(code['counts'], pixels + 1)
