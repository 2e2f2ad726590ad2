"""Weighted orders: LVIS's repeat factors, balanced classes, columns and expressions."""

from __future__ import annotations

import re
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from helpers.lakes import row, write_lake
from helpers.samples import BCCD
from mmdet.datasets import CocoDataset
from mmdet.utils import register_all_modules
from mmengine.dataset import ClassBalancedDataset, ConcatDataset
from test_batch_sampler import on_rank

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.samplers.weighting import sample_weights
from mmdet_deeplake_plugin.samplers.wrappers import map_samples
from mmdet_deeplake_plugin.shuffle.repeats import (
    class_balanced_weights,
    repeat_factors,
    sample_counts,
)

register_all_modules()

EPOCHS = 50
KINDS = [
    dict(type='repeat_factor', threshold=0.8),
    dict(type='class_balanced'),
    dict(type='column', name='image_id'),
    dict(type='query', expression='(image_id + 3) * 2'),
]
COCO = CocoDataset.METAINFO['classes']
EXAMPLES = (
    "write dict(type='repeat_factor', threshold=0.001), dict(type='class_balanced'), "
    "dict(type='column', name='…') or dict(type='query', expression='…')"
)

UNKNOWN = 'of DeepLakeLoader has an unknown type'


def flat(*labels: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and labels of images."""
    offsets = np.cumsum([0, *map(len, labels)])
    return offsets, np.array([label for each in labels for label in each], np.int32)


def twice(dataset: Any) -> dict:
    """A config of a dataset whose samples come twice."""
    return dict(type='RepeatDataset', dataset=dataset, times=2)


def weights_of(dataset: Any, **keys: Any) -> tuple[np.ndarray, int]:
    """Weights and length of an epoch of a dataset."""
    return sample_weights(keys, 'full', map_samples(dataset))


@pytest.fixture(scope='module')
def dataset(tmp_path_factory) -> DeepLakeDataset:
    """40 rows with the ids 0 to 39: a class is common, one rarer, one rare; some none."""
    labels = [[], [0], [0, 0, 1], [0], [0]] * 7 + [[0, 2], [0], [], [2], [1]]
    boxes = [np.tile([1.0, 2.0, 9.0, 9.0], (len(own), 1)) for own in labels]
    rows = [row(i, *values) for i, values in enumerate(zip(boxes, labels))]
    path = write_lake(tmp_path_factory.mktemp('weights') / 'lake', rows)
    return DeepLakeDataset(path)


# ------------------------------------------------------------------- repeat factors


@pytest.mark.parametrize('threshold', [0.001, 0.1, 0.5, 0.95, 3])
@pytest.mark.parametrize('is_filtered', [True, False])
@pytest.mark.parametrize('name', ['bccd_train', 'coco_cc'])
def test_repeat_factors_are_the_stock_ones(
    name, is_filtered, threshold, lake, coco_files
):
    """Digit for digit those of ClassBalancedDataset over CocoDataset."""
    filter_cfg = dict(filter_empty_gt=True, min_size=32) if is_filtered else None
    keys = dict(
        filter_cfg=filter_cfg, metainfo=dict(classes=COCO if 'coco' in name else BCCD)
    )
    stock = CocoDataset(**coco_files(name), pipeline=[], **keys)
    balanced = ClassBalancedDataset(stock, threshold)
    expected = balanced._get_repeat_factors(stock, threshold)
    factors, total = weights_of(
        DeepLakeDataset(lake(name), **keys), type='repeat_factor', threshold=threshold
    )
    assert factors.tolist() == expected
    assert total == round(sum(expected))


def test_images_without_labels_are_not_repeated(dataset):
    """However few they are, their factor is 1, as ClassBalancedDataset has it."""
    offsets, labels = flat(*[[0]] * 50, [], [1], [0, 1], [])
    factors = repeat_factors(offsets, labels, 0.5)
    assert factors[:50].tolist() == [1] * 50 and factors[[50, 53]].tolist() == [1, 1]
    assert factors[51] == factors[52] == np.sqrt(0.5 / (2 / 54))
    stock = ClassBalancedDataset(dataset, 0.95)._get_repeat_factors(dataset, 0.95)
    factors, _ = weights_of(dataset, type='repeat_factor', threshold=0.95)
    assert factors.tolist() == stock and min(stock) == 1 < max(stock)


def test_a_dataset_without_labels_has_factors_of_one():
    """No label at all, no image at all."""
    assert repeat_factors(*flat([], [], []), 0.9).tolist() == [1, 1, 1]
    assert repeat_factors(*flat(), 0.9).tolist() == []
    assert class_balanced_weights(*flat()).tolist() == []


# ------------------------------------------------------------------ balanced classes


def test_every_class_has_the_same_weight():
    """Each class shares one unit among its images; none is a class of its own."""
    offsets, labels = flat([0], [0, 0], [0], [1, 0], [], [], [2])
    weights = class_balanced_weights(offsets, labels)
    assert weights.tolist() == pytest.approx(
        [1 / 4, 1 / 4, 1 / 4, 5 / 4, 1 / 2, 1 / 2, 1]
    )
    assert weights.sum() == pytest.approx(4)



def test_ignored_boxes_are_no_class_of_their_neighbours():
    """CrowdHuman labels them -1: stock repeats that as a class; balance leaves it out."""
    offsets, labels = flat([0, -1], [0], [-1], [0, -1], [], [0])
    sized = MagicMock(__len__=lambda _: 6)
    sized.get_cat_ids = lambda index: labels[offsets[index] : offsets[index + 1]].tolist()
    stock = ClassBalancedDataset.__new__(ClassBalancedDataset)
    stock.filter_empty_gt, stock.dataset = True, sized
    assert repeat_factors(offsets, labels, 0.8).tolist() == stock._get_repeat_factors(sized, 0.8)
    weights = class_balanced_weights(offsets, labels)
    assert weights.tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 2, 1 / 4, 1 / 2, 1 / 4])


def test_balanced_classes_come_equally_often(tmp_path):
    """Of images with one label each, the classes have equal parts of every epoch."""
    numbers = [0] * 20 + [1] * 7 + [2] * 3
    rows = [row(i, [[1, 2, 9, 9]], [label]) for i, label in enumerate(numbers)]
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', rows))
    sampler = DeepLakeLoader(dataset, seed=0, weights=dict(type='class_balanced'))
    total = np.zeros(3)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        seen = np.bincount(np.array(numbers)[list(sampler)], minlength=3)
        assert seen.sum() == 30
        total += seen
    assert np.abs(total / total.sum() - 1 / 3).max() < 0.02


# -------------------------------------------------------------- columns, expressions


def test_a_column_or_an_expression_gives_weights(dataset):
    """One number for each sample, of the dataset's own rows in their order."""
    subset = dataset.get_subset([7, 3, 39])
    assert weights_of(subset, type='column', name='image_id')[0].tolist() == [7, 3, 39]
    values, total = weights_of(subset, type='query', expression='(image_id + 3) * 2')
    assert values.tolist() == [20, 12, 84] and total == 3
    wrapped = ConcatDataset([twice(subset), dataset.get_subset([5])])
    values, total = weights_of(wrapped, type='column', name='image_id')
    assert values.tolist() == [7, 3, 39, 7, 3, 39, 5] and total == 7


def test_labels_follow_wrappers(dataset):
    """Weights by labels are those of the wrapped samples, in their order."""
    wrapped = ConcatDataset([twice(dataset), dataset.get_subset([4, 2, 0])])
    labels = [dataset.get_cat_ids(i) for i in [*range(40), *range(40), 4, 2, 0]]
    expected = repeat_factors(*flat(*labels), 0.7)
    values, _ = weights_of(wrapped, type='repeat_factor', threshold=0.7)
    assert values.tolist() == expected.tolist() and len(set(values.tolist())) > 1


# ------------------------------------------------------------------------ frequencies


@pytest.mark.parametrize('weights', KINDS, ids=lambda keys: keys['type'])
@pytest.mark.parametrize('shuffle', ['full', 'lanes'])
def test_samples_come_as_often_as_asked(shuffle, weights, dataset):
    """Counts are rounded up or down; over 50 epochs they lie within three sigma.

    Sigma is that of drawing with replacement, sqrt(E T p (1 - p)) for E epochs of T
    draws with the chance p; systematic sampling has less.
    """
    values, total = weights_of(dataset, **weights)
    share = values / values.sum()
    sampler = DeepLakeLoader(dataset, shuffle=shuffle, seed=0, weights=weights)
    assert len(sampler) == total
    seen = np.zeros(len(dataset), dtype=np.int64)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        counts = np.bincount(list(sampler), minlength=len(dataset))
        assert counts.sum() == total
        assert (np.abs(counts - total * share) < 1 + 1e-9).all()
        seen += counts
    sigma = np.sqrt(EPOCHS * total * share * (1 - share))
    assert (np.abs(seen - EPOCHS * total * share) <= 3 * sigma).all()
    assert not seen[share == 0].any()


def test_counts_have_the_asked_expectation():
    """Mean counts of 4,000 epochs lie within five sigma of what is asked."""
    weights = np.array([0.0, 1.0, 2.5, 0.1, 7.0, 0.0, 0.4])
    asked = 11 * weights / weights.sum()
    counts = np.array([sample_counts(weights, 11, 0, epoch) for epoch in range(4000)])
    assert (counts.sum(axis=1) == 11).all()
    assert (counts >= np.floor(asked)).all() and (counts <= np.ceil(asked)).all()
    part = asked - np.floor(asked)
    sigma = np.sqrt(part * (1 - part) / 4000)
    assert (np.abs(counts.mean(axis=0) - asked) <= 5 * sigma).all()


@pytest.mark.parametrize('size', [1, 2, 65_535, 65_536, 65_537, 200_000])
def test_counts_fit_together_beyond_a_block(size):
    """Sums are exact, counts rounded, and weights of 0 never drawn, at any length."""
    rng = np.random.default_rng(size)
    weights = rng.random(size) * (rng.random(size) < 0.7)
    weights[rng.integers(size)] = 3.0
    weights[1:][70_000:140_000] = 0.0  # a block without any
    for total in (1, size, 3 * size + 1):
        for seed in (0, 1):
            counts = sample_counts(weights, total, seed, 0)
            assert counts.sum() == total and not counts[weights == 0].any()
            assert np.abs(counts - total * weights / weights.sum()).max() < 1 + 1e-6


def test_equal_weights_give_each_sample_once():
    """What is expected once comes once; nothing comes of no sample."""
    for size in (1, 7, 1000, 100_000):
        counts = sample_counts(np.full(size, 0.3), size, 5, 2)
        assert counts.tolist() == [1] * size
    assert sample_counts(np.empty(0), 0, 0, 0).tolist() == []


def test_neighbours_are_rounded_independently():
    """Half-expected neighbours come together as often as far ones, not in turn."""
    weights = np.ones(100)
    counts = np.array([sample_counts(weights, 50, 0, epoch) for epoch in range(400)])
    together = (counts[:, 1:] == counts[:, :-1]).mean()
    assert abs(together - 49 / 99) < 0.02


# ---------------------------------------------------- determinism, ranks, going on


@pytest.mark.parametrize('weights', KINDS, ids=lambda keys: keys['type'])
@pytest.mark.parametrize('shuffle', ['full', 'lanes'])
def test_a_weighted_order_is_one_order(shuffle, weights, dataset):
    """The same for a seed and epoch, for any ranks, and behind what is skipped."""
    keys = dict(shuffle=shuffle, seed=4, weights=weights, lanes=8)
    sampler = DeepLakeLoader(dataset, **keys)
    np.random.seed(1)
    orders = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        order = sampler.global_order().tolist()
        orders.append(order)
        assert list(sampler) == list(sampler) == order
        for ranks in (2, 3, 8):
            parts = [on_rank(dataset, rank, ranks, **keys) for rank in range(ranks)]
            for part in parts:
                part.set_epoch(epoch)
            dealt = [index for turn in zip(*parts) for index in turn]
            assert dealt == (order * 2)[: len(dealt)]
            assert len(dealt) == len(order) + -len(order) % ranks
        sampler.skip(13)
        assert list(sampler) == order[13:]
    assert orders[0] != orders[1]


def test_counts_of_a_seed_never_change_between_releases():
    """Runs can be repeated: these counts are part of the contract."""
    weights = np.array([0.5, 1.0, 0.5, 2.0, 0.2, 0.8])
    assert sample_counts(weights, 6, 0, 0).tolist() == [0, 2, 1, 2, 0, 1]
    assert sample_counts(weights, 6, 0, 1).tolist() == [1, 2, 0, 2, 0, 1]
    assert sample_counts(weights, 6, 1, 0).tolist() == [1, 1, 1, 2, 0, 1]


def test_an_empty_dataset_has_empty_weighted_epochs(dataset):
    """Where no row is left there is nothing to weigh, and nothing is dealt."""
    empty = dataset.get_subset([])
    for weights in KINDS:
        assert list(DeepLakeLoader(empty, seed=0, weights=weights)) == []


# ----------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ('weights', 'text'),
    [
        pytest.param('class_balanced', f"'class_balanced' {UNKNOWN}; {EXAMPLES}"),
        pytest.param({}, f'{{}} {UNKNOWN}; {EXAMPLES}', id='empty'),
        pytest.param(
            dict(type='class_balance'),
            f"{{'type': 'class_balance'}} {UNKNOWN} (did you mean class_balanced?); "
            + EXAMPLES,
            id='misspelt',
        ),
        pytest.param(
            dict(type=['query', 3]),
            f"{{'type': ['query', 3]}} {UNKNOWN}; {EXAMPLES}",
            id='no-name',
        ),
        pytest.param(
            dict(type='repeat_factor'),
            "{'type': 'repeat_factor'} of DeepLakeLoader has the wrong keys for "
            f'repeat_factor; {EXAMPLES}',
            id='key-missing',
        ),
        pytest.param(
            dict(type='class_balanced', threshold=1),
            "{'type': 'class_balanced', 'threshold': 1} of DeepLakeLoader has the wrong "
            f'keys for class_balanced; {EXAMPLES}',
            id='key-too-many',
        ),
        *(
            pytest.param(
                dict(type='repeat_factor', threshold=value),
                f"{{'type': 'repeat_factor', 'threshold': {value!r}}} of DeepLakeLoader: "
                f'threshold must be a positive number, got {value!r}; {EXAMPLES}',
                id=f'threshold-{value}',
            )
            for value in ('0.1', 0, -0.5, None, float('nan'), float('inf'))
        ),
        *(
            pytest.param(
                dict(type='column', name=value),
                f"{{'type': 'column', 'name': {value!r}}} of DeepLakeLoader: name must "
                f'be a non-empty string, got {value!r}; {EXAMPLES}',
                id=f'name-{value}',
            )
            for value in ('', 3)
        ),
        pytest.param(
            dict(type='query', expression='image_id - 5'),
            "{'type': 'query', 'expression': 'image_id - 5'} of DeepLakeLoader must "
            'yield finite, non-negative numbers that are not all 0, got -5.0 to 34.0',
            id='negative',
        ),
        pytest.param(
            dict(type='query', expression='image_id * 0'),
            "{'type': 'query', 'expression': 'image_id * 0'} of DeepLakeLoader must "
            'yield finite, non-negative numbers that are not all 0, got 0.0 to 0.0',
            id='all-zero',
        ),
    ],
)
def test_wrong_weights_are_refused(weights, text, dataset):
    """The error shows the key's value, what is wrong with it and what to write."""
    with pytest.raises(ValueError, match=f'^{re.escape("weights=" + text)}$'):
        DeepLakeLoader(dataset, seed=0, weights=weights)


@pytest.mark.parametrize(
    ('weights', 'part'),
    [
        (dict(type='column', name='image_di'), 'cannot compute "image_di": '),
        (dict(type='query', expression='no such'), 'cannot compute no such: '),
        (dict(type='column', name='file_name'), 'must give one number per row, got values such as'),
        (dict(type='column', name='boxes'), 'must give one number per row, got values such as'),
    ],
    ids=['column', 'expression', 'text', 'boxes'],
)
def test_what_gives_no_numbers_is_refused(weights, part, dataset):
    """Unknown columns, wrong TQL, and columns that hold no single numbers."""
    with pytest.raises(ValueError, match=re.escape(part)):
        DeepLakeLoader(dataset, seed=0, weights=weights)


@pytest.mark.parametrize('shuffle', [False, 'none'])
def test_weights_need_a_shuffle(shuffle, dataset):
    """In sequence there is nothing to weigh."""
    text = (
        "weights={'type': 'class_balanced'} of DeepLakeLoader needs a shuffled order, "
        'but shuffle is off; write shuffle=True'
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeLoader(dataset, shuffle=shuffle, weights=dict(type='class_balanced'))


def test_weights_need_a_lake():
    """Other datasets have no columns."""
    text = (
        "weights={'type': 'class_balanced'} of DeepLakeLoader needs a dataset that "
        'consists of DeepLakeDataset alone (Concat, Repeat, ClassBalanced and '
        'MultiImageMix may wrap it)'
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeLoader(range(9), seed=0, weights=dict(type='class_balanced'))


def test_a_checkpoint_tells_one_weighting_from_another(dataset):
    """Equal lengths, other weights: the state of the order differs, so a resume fails."""
    ways = [
        dict(type='class_balanced'),
        dict(type='query', expression='image_id + 1'),
        dict(type='query', expression='image_id + 2'),
    ]
    states = [DeepLakeLoader(dataset, seed=0, weights=way).order_state() for way in ways]
    assert len({state['weights'] for state in states}) == 3
    again = DeepLakeLoader(dataset, seed=0, weights=ways[0])
    assert again.order_state() == states[0]
    assert 'weights' not in DeepLakeLoader(dataset, seed=0).order_state()
