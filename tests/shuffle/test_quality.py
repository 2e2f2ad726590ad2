"""The quality of a shuffle: by hand on small orders, as promised on large ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmdet_deeplake_plugin.samplers.checks import default_lanes
from mmdet_deeplake_plugin.shuffle.epoch import epoch_order
from mmdet_deeplake_plugin.shuffle.lanes import ChunkIndex, Lanes
from mmdet_deeplake_plugin.shuffle.quality import (
    distinct_chunks,
    measure_quality,
    shuffle_entropy,
    step_entropy,
)

COCO = 117_266  # images of train2017 with annotations
CHUNKS = np.arange(COCO) // 64


@pytest.mark.parametrize(
    ('order', 'bits'),
    [
        pytest.param([], 0.0, id='no-row'),
        pytest.param([5], 0.0, id='one-row'),
        pytest.param([0, 1, 2, 3], 0.0, id='in-sequence'),
        pytest.param([3, 2, 1, 0], 0.0, id='backwards'),
        pytest.param([0, 1, 3], 1.0, id='two-steps'),
        pytest.param([0, 1, 3, 6, 10], 2.0, id='four-steps'),
        pytest.param([4, 4, 4], 0.0, id='no-step'),
        # steps 1, 1, 2: -(2/3 log 2/3 + 1/3 log 1/3)
        pytest.param([0, 1, 2, 0], math.log2(3) - 2 / 3, id='uneven'),
    ],
)
def test_the_entropy_is_that_of_the_steps(order, bits):
    """Steps of equal length, forward or back, count as one kind."""
    assert step_entropy(np.array(order, dtype=np.int64)) == pytest.approx(bits)


def test_the_shuffles_entropy_is_the_mean_of_rows_and_chunks():
    """Rows 0, 2, 1, 3 step by 2, 1, 2; their chunks 0, 1, 0, 1 always by 1."""
    order, chunks = np.array([0, 2, 1, 3]), np.array([0, 0, 1, 1])
    assert shuffle_entropy(order, chunks) == pytest.approx((math.log2(3) - 2 / 3) / 2)


@pytest.mark.parametrize(
    ('batch_size', 'share'), [(1, 1.0), (2, 3 / 4), (3, 2 / 3), (4, 3 / 4), (5, 3 / 5)]
)
def test_distinct_chunks_counts_chunks_in_full_batches(batch_size, share):
    """Chunks 0 0 1 2 1: the pairs have one and two of two, the fifth is left over."""
    order, chunks = np.array([4, 1, 3, 0, 2]), np.array([2, 0, 1, 1, 0])
    assert chunks[order].tolist() == [0, 0, 1, 2, 1]
    assert distinct_chunks(order, chunks, batch_size) == pytest.approx(share)


def test_without_a_full_batch_there_is_no_share():
    """Two samples make no batch of three."""
    assert math.isnan(distinct_chunks(np.arange(2), np.arange(2), 3))


@pytest.mark.parametrize('seed', [0, 1])
def test_lanes_shuffle_nearly_as_well_as_a_permutation(seed):
    """COCO in chunks of 64 rows: 11.9 of 12.66 bits, 0.9 of a batch's chunks distinct."""
    lanes = default_lanes(1, None, None)
    ways = Lanes(ChunkIndex.from_chunks(CHUNKS, CHUNKS[-1] + 1), lanes, 1, seed, 0)
    order = ways.rank_slice(0, 1, COCO)
    permuted = epoch_order(COCO, seed, 0, shuffle=True)
    best = shuffle_entropy(permuted, CHUNKS)
    assert 12.5 < best < 13.5
    bits = shuffle_entropy(order, CHUNKS)
    assert bits >= 11.9 and bits >= 0.94 * best
    assert distinct_chunks(order, CHUNKS, 16) >= 0.9
    assert shuffle_entropy(np.arange(COCO), CHUNKS) < 0.1


def test_a_wider_window_shuffles_better():
    """Two chunks mixed have more entropy than one, and four more than two."""
    index = ChunkIndex.from_chunks(CHUNKS, CHUNKS[-1] + 1)
    bits = [
        shuffle_entropy(Lanes(index, 64, window, 0, 0).rank_slice(0, 1, COCO), CHUNKS)
        for window in (1, 2, 4)
    ]
    assert bits[0] < bits[1] < bits[2]


def test_steps_are_measured_where_the_samples_lie():
    """A view that lists rows chunk by chunk in any order is as good as the rows."""
    chunks = np.arange(6000) // 60
    order = epoch_order(6000, 1, 0, shuffle=True)
    plain = measure_quality(order, chunks, 16)
    assert plain.entropy == shuffle_entropy(order, chunks)
    assert plain.distinct == distinct_chunks(order, chunks, 16)
    assert plain.at_random == pytest.approx(plain.entropy, abs=0.05)
    listed = np.random.default_rng(0).permutation(6000)  # sample -> row
    sample_of = np.argsort(listed)
    view = measure_quality(sample_of[np.arange(6000)], chunks[listed], 16)
    assert view.entropy < 4 < plain.entropy  # along the chunks, so hardly shuffled
    assert view.distinct < 0.1


def test_the_quality_reads_as_a_sentence():
    """Of 64 rows in sequence: one chunk for eight samples, and 7 of 63 steps differ."""
    text = str(measure_quality(np.arange(64), np.arange(64) // 8, 8))
    assert text.startswith('0.25 bits of ')
    assert text.endswith('; a batch has 0.12 chunks for each sample')


@pytest.mark.parametrize('lanes', [64, 256, 1024])
def test_small_lakes_are_shuffled_as_well(lanes):
    """With fewer chunks than lanes, a batch has as many chunks as one at random."""
    chunks = np.arange(1000) // 51
    index = ChunkIndex.from_chunks(chunks, 20)
    found = measure_quality(
        Lanes(index, lanes, 1, 0, 0).rank_slice(0, 1, 1000), chunks, 8
    )
    full = measure_quality(np.random.default_rng(0).permutation(1000), chunks, 8)
    assert found.distinct >= full.distinct
    assert found.entropy >= 0.9 * full.entropy
