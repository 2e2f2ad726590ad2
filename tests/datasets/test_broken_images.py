"""Images that are missing, cut short or damaged: which they are, and both policies."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.lakes import HEIGHT, IMAGE_TYPES, WIDTH, picture, row, write_lake
from mmdet.datasets import MultiImageMixDataset
from mmdet.utils import register_all_modules
from mmengine.logging import MMLogger
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.lake.images.encoded import encode_pixels, fetch
from mmdet_deeplake_plugin.structures.image_check import BrokenImageError, check_image

register_all_modules()

BARE = {'width': None, 'height': None}
LOAD = [dict(type='LoadImageFromFile')]
TRAIN = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
REMEDY = "correct or delete the row, or leave it out with deeplake_query or on_broken_image='skip'"


def _encoded(kind: str, *options: int) -> bytes:
    rng = np.random.default_rng(0)
    pixels = cv2.resize(rng.integers(0, 255, (6, 9, 3), np.uint8), (90, 60))
    return cv2.imencode(f'.{kind}', pixels, options)[1].tobytes()


def _with_thumbnail(content: bytes) -> bytes:
    """A JPEG that holds a whole one in its header, as cameras write them."""
    inner = picture(3, 16, 12)
    segment = b'\xff\xe1' + (len(inner) + 8).to_bytes(2, 'big') + b'Exif\0\0' + inner
    return content[:2] + segment + content[2:]


def _damaged(content: bytes) -> bytes:
    """A PNG whose ends are right and whose pixels are not."""
    middle = len(content) // 2
    return content[:middle] + bytes(200) + content[middle + 200 :]


# ------------------------------------------------------------------ whole or not

WHOLE = {
    'jpeg': _encoded('jpg'),
    'jpeg-progressive': _encoded('jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    'jpeg-restart-marks': _encoded('jpg', cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    'jpeg-thumbnail': _with_thumbnail(_encoded('jpg')),
    'png': _encoded('png'),
    'bmp': _encoded('bmp'),
    'gif': _encoded('gif'),
    'webp': _encoded('webp'),
    'tiff': _encoded('tiff'),
    'jpeg-2000': _encoded('jp2'),
}


@pytest.mark.parametrize('padding', [b'', bytes(64)], ids=['plain', 'padded'])
@pytest.mark.parametrize('content', WHOLE.values(), ids=WHOLE)
def test_a_whole_image_passes_also_with_padding_behind_it(content, padding):
    """Cameras and disks pad; what stands behind the end is no fault."""
    check_image(content + padding)


@pytest.mark.parametrize('name', [name for name in WHOLE if name not in ('gif', 'tiff')])
def test_an_image_that_is_cut_anywhere_is_broken(name):
    """Any cut leaves a body that the check refuses, without decoding it."""
    content = WHOLE[name]
    for length in range(len(content) - 2):
        with pytest.raises(BrokenImageError):
            check_image(content[:length])


@pytest.mark.parametrize('name', ['gif', 'tiff'])
def test_a_half_image_of_the_other_formats_is_broken(name):
    """GIF and TIFF: a cut that leaves neither the last byte nor the directory."""
    content = WHOLE[name]
    cut = content[: len(content) // 2] + b'\1'
    with pytest.raises(BrokenImageError, match='is cut short'):
        check_image(cut)


CAUSES: dict[str, tuple[Any, str]] = {
    'empty': (b'', 'no image is stored (0 bytes)'),
    'junk': (
        b'this is no image',
        "16 bytes that begin with b'this is ' are not an image (JPEG, PNG, BMP, GIF, WebP, "
        'TIFF or JPEG 2000)',
    ),
    'half-jpeg': (
        WHOLE['jpeg'][:900],
        'the JPEG image is cut short: 900 bytes, without the end mark FF D9',
    ),
    'jpeg-header': (
        WHOLE['jpeg'][:200],
        'the JPEG image is cut short: 200 bytes, and no pixels in them',
    ),
    'jpeg-with-whole-thumbnail': (
        _with_thumbnail(WHOLE['jpeg'])[:1600],
        'the JPEG image is cut short: 1600 bytes, without the end mark FF D9',
    ),
    'half-png': (
        WHOLE['png'][:900],
        'the PNG image is cut short: 900 bytes, without the last chunk IEND',
    ),
    'half-webp': (
        WHOLE['webp'][:500],
        f'the WebP image is cut short: 500 bytes, but it states {len(WHOLE["webp"])}',
    ),
    'half-bmp': (
        WHOLE['bmp'][:500],
        f'the BMP image is cut short: 500 bytes, but it states {len(WHOLE["bmp"])}',
    ),
    'damaged-png': (_damaged(WHOLE['png']), 'the decoder cv2 cannot decode it'),
}


@pytest.mark.parametrize(('content', 'cause'), CAUSES.values(), ids=CAUSES)
def test_a_broken_image_is_an_error_that_names_lake_row_and_cause(
    content, cause, tmp_path
):
    """By default, in these words, when the sample is loaded; its neighbours are read."""
    rows = [row(0), {**row(1), 'images': content}, row(2)]
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', rows), pipeline=LOAD)
    where = f"lake {tmp_path}/lake@main (version 0000000001m00000000), column 'images', "
    with pytest.raises(BrokenImageError) as caught:
        dataset[1]
    assert str(caught.value) == f'{where}row 1: {cause}; {REMEDY}'
    assert dataset[0]['img'].shape == dataset[2]['img'].shape == (HEIGHT, WIDTH, 3)


STORED: dict[str, tuple[Any, str, str]] = {
    'null': (None, 'nullable', 'no image is stored (null)'),
    'no-pixels': (
        np.zeros((0, 5, 3), np.uint8),
        'uncompressed',
        'the stored image has no pixels (shape (0, 5, 3))',
    ),
    'empty-link': ('', 'link', 'no image is stored (an empty link)'),
    'dead-link': (
        '/no/such/file.jpg',
        'link',
        'its link /no/such/file.jpg points to a file that does not exist',
    ),
}


@pytest.mark.parametrize('columns', [{}, BARE], ids=['sizes-stored', 'sizes-read'])
@pytest.mark.parametrize(('value', 'column', 'cause'), STORED.values(), ids=STORED)
def test_a_row_without_an_image_is_an_error_too(value, column, cause, columns, tmp_path):
    """Null, without pixels, without a file: as early as its size is asked for."""
    (tmp_path / 'a.jpg').write_bytes(picture(1))
    good = str(tmp_path / 'a.jpg') if column == 'link' else np.zeros((4, 5, 3), np.uint8)
    rows = [{**row(0), 'images': good}, {**row(1), 'images': value}]
    path = write_lake(tmp_path / 'lake', rows, {'images': IMAGE_TYPES[column], **columns})
    with pytest.raises(BrokenImageError, match=re.escape(f'row 1: {cause}; {REMEDY}')):
        DeepLakeDataset(path, pipeline=LOAD)[1]


def test_an_image_whose_size_nobody_can_tell_is_an_error(tmp_path):
    """It begins and ends as a PNG, and no decoder finds a size in it."""
    content = WHOLE['png'][:8] + b'nonsense' * 8 + WHOLE['png'][-12:]
    rows = [row(0), {**row(1), 'images': content}]
    columns = {'images': IMAGE_TYPES['png'], **BARE}
    with pytest.raises(
        BrokenImageError, match='row 1: neither Pillow nor OpenCV can read its size; '
    ):
        DeepLakeDataset(write_lake(tmp_path / 'lake', rows, columns))


def test_a_nullable_column_of_links_is_refused(tmp_path):
    """Deep Lake returns wrong bytes for it, so nothing is read."""
    rows = [{**row(0), 'images': '/a.jpg'}]
    columns = {'images': IMAGE_TYPES['nullable-link'], **BARE}
    with pytest.raises(ValueError, match='does not read links of a nullable column'):
        DeepLakeDataset(write_lake(tmp_path / 'lake', rows, columns))


@pytest.mark.parametrize(
    'pixels',
    [np.zeros((4, 5, 3), np.float32), np.zeros((4, 5, 2), np.uint8), np.zeros((4, 5, 6))],
    ids=['floats', 'two-channels', 'six-channels'],
)
def test_an_array_that_is_no_image_is_refused(pixels):
    """Only what a PNG holds without loss: 8 or 16 bits, 1, 3 or 4 channels."""
    text = (
        'an image must be an array (H, W, C) with 1, 3 or 4 channels, of uint8 or uint16; '
        f'found shape {pixels.shape} and type {pixels.dtype}'
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        encode_pixels(pixels)


def test_the_secret_of_a_link_is_not_shown(file_server, tmp_path):
    """A signed address carries a secret behind the question mark."""
    address = file_server(tmp_path).replace('//', '//me:secret1@')
    with pytest.raises((BrokenImageError, OSError)) as caught:
        fetch(f'{tmp_path}/x.jpg?sig=secret2', None)
    assert 'secret2' not in str(caught.value)
    with pytest.raises(BrokenImageError) as caught:
        fetch(f'{address.replace("me:secret1@", "")}/x.jpg?sig=secret2', None)
    assert 'points to a file that does not exist' in str(caught.value)
    assert 'secret' not in str(caught.value)


# --------------------------------------------------------------------- skipping

BROKEN = {1: 'half-jpeg', 2: 'junk', 5: 'damaged-png', 9: 'empty'}
INSTEAD = [0, 3, 3, 3, 4, 6, 6, 7, 8, 0]


@pytest.fixture(scope='module')
def some_broken(tmp_path_factory) -> str:
    """A lake of ten rows, four of which hold no whole image; the last among them."""
    return _broken_lake(tmp_path_factory.mktemp('broken') / 'lake')


def _broken_lake(path: Path) -> str:
    rows = [
        {**row(i), 'images': CAUSES[BROKEN[i]][0]} if i in BROKEN else row(i)
        for i in range(10)
    ]
    return write_lake(path, rows)


def _skipping(path: str, pipeline: Any = None, **kwargs: Any) -> DeepLakeDataset:
    pipeline = TRAIN if pipeline is None else pipeline
    return DeepLakeDataset(path, pipeline=pipeline, on_broken_image='skip', **kwargs)


def _ids(samples: Any) -> list[int]:
    return [sample['data_samples'].img_id for sample in samples]


def test_in_training_the_next_image_takes_the_place_of_a_broken_one(some_broken):
    """By index, from the end to the beginning; no random number is drawn for it."""
    dataset = _skipping(some_broken)
    np.random.seed(7)
    state = np.random.get_state()[1].copy()
    assert _ids(dataset[index] for index in range(10)) == INSTEAD
    plain = _skipping(some_broken, LOAD)
    np.random.set_state(('MT19937', state, 624, 0, 0.0))
    assert [plain[index]['img_id'] for index in range(-10, 0)] == INSTEAD
    assert (np.random.get_state()[1] == state).all()
    with pytest.raises(IndexError):
        dataset[10]


def test_the_rows_that_were_skipped_are_told_once(some_broken):
    """In ascending order, and again only when they were met again."""
    dataset = _skipping(some_broken)
    subset = dataset.get_subset([0, 1, 3])
    for index in (5, 2, 2, 0):
        dataset[index]
    subset[1]
    copy.deepcopy(dataset)[9]
    assert dataset.take_skipped_rows() == [1, 2, 5, 9]
    assert dataset.take_skipped_rows() == []
    dataset[2]
    assert dataset.take_skipped_rows() == [2]


@pytest.mark.parametrize(('start', 'workers'), [('fork', 2), ('spawn', 1)])
def test_workers_skip_alike_and_tell_the_main_process(start, workers, some_broken):
    """Samples do not depend on workers, however they are started."""
    dataset = _skipping(some_broken)
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=1,
        num_workers=workers,
        collate_fn=_first,
        multiprocessing_context=start,
    )
    assert _ids(loader) == INSTEAD
    assert dataset.take_skipped_rows() == [1, 2, 5, 9]


def _first(batch: list[Any]) -> Any:
    return batch[0]


def test_a_mix_of_images_meets_no_broken_one(some_broken):
    """Mosaic takes the replacements of the images that it draws."""
    mosaic = MultiImageMixDataset(
        _skipping(some_broken, TRAIN[:2]),
        [dict(type='Mosaic', img_scale=(32, 32)), dict(type='PackDetInputs')],
    )
    for index in range(10):
        assert mosaic[index]['inputs'].shape == (3, 64, 64)


def test_when_no_image_can_be_decoded_skipping_is_an_error(tmp_path):
    """There is nothing to train on."""
    rows = [{**row(i), 'images': b'junk'} for i in range(3)]
    dataset = _skipping(write_lake(tmp_path / 'lake', rows))
    with pytest.raises(BrokenImageError, match='none of the 3 images of lake'):
        dataset[1]


def test_an_error_of_a_transform_is_not_taken_for_a_broken_image(some_broken):
    """Only what the image is to blame for is skipped."""
    dataset = _skipping(some_broken, [*LOAD, dict(type='Resize', scale=(0, 0))])
    with pytest.raises(Exception) as caught:
        dataset[0]
    assert not isinstance(caught.value, BrokenImageError)


def test_an_image_that_cannot_be_read_is_an_error_whatever_the_policy(
    some_broken, monkeypatch
):
    """A failing disk or network must stop a run, not thin out its data."""
    dataset = _skipping(some_broken)

    def fail(number: int) -> bytes:
        raise ValueError('the server is gone')

    monkeypatch.setattr(dataset.lake.images, 'read_row', fail)
    with pytest.raises(ValueError, match='the server is gone'):
        dataset[0]


def test_a_link_that_leads_nowhere_is_skipped(tmp_path):
    """Its row counts as one without an image."""
    (tmp_path / 'a.jpg').write_bytes(picture(1))
    links = [str(tmp_path / 'gone.jpg'), str(tmp_path / 'a.jpg'), '']
    rows = [{**row(i), 'images': link} for i, link in enumerate(links)]
    columns = {'images': IMAGE_TYPES['link'], **BARE}
    dataset = _skipping(write_lake(tmp_path / 'lake', rows, columns))
    assert _ids(dataset[index] for index in range(3)) == [1, 1, 1]
    assert dataset.take_skipped_rows() == [0, 2]


def test_an_unknown_policy_is_refused(some_broken):
    """With the nearest name."""
    text = (
        "on_broken_image='skipp' is unknown (did you mean skip?); write 'raise' or 'skip'"
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeDataset(some_broken, on_broken_image='skipp')


# -------------------------------------------------------------------- evaluation


def test_in_a_test_a_black_image_keeps_the_place_of_a_broken_one(some_broken):
    """Of the same size and with the same annotations, under a path that says so."""
    dataset = _skipping(some_broken, test_mode=True)
    for index in range(10):
        sample = dataset[index]['data_samples']
        assert sample.img_id == index and sample.ori_shape == (HEIGHT, WIDTH)
        assert len(sample.gt_instances) == 1
        blank = f'/{index}/blank-{WIDTH}x{HEIGHT}/' in sample.img_path
        assert blank == (index in BROKEN)
        if blank:
            assert dataset[index]['inputs'].max() == 0


def _perfect(sample: dict) -> dict:
    """A prediction that finds what is there, on black images too."""
    truth = sample['data_samples'].gt_instances
    found = InstanceData(
        bboxes=truth.bboxes.tensor.clone(),
        scores=torch.ones(len(truth)),
        labels=truth.labels.clone(),
    )
    return dict(img_path=sample['data_samples'].img_path, pred_instances=found)


@pytest.mark.parametrize(
    ('metrics_format', 'name'), [('COCO', 'coco/bbox_mAP'), ('PascalVOC', None)]
)
def test_broken_images_count_as_images_without_detections(
    metrics_format, name, some_broken, log_lines
):
    """What a model finds on the black image counts nothing, and the log lists the rows."""
    pipeline = [TRAIN[0], TRAIN[1], TRAIN[3]]
    dataset = _skipping(some_broken, pipeline, test_mode=True)
    samples = [_perfect(dataset[index]) for index in range(10)]
    numbers = _evaluate(metrics_format, dataset, samples)
    for index in BROKEN:
        samples[index]['pred_instances'] = samples[index]['pred_instances'][:0]
    plain = DeepLakeDataset(some_broken, test_mode=True)
    for index in range(10):
        samples[index]['img_path'] = plain.get_data_info(index)['img_path']
    assert numbers == _evaluate(metrics_format, dataset, samples)
    assert 0.3 < next(iter(numbers.values())) < 0.8
    told = [line for line in log_lines if 'without detections' in line]
    assert told == [
        'DeepLakeMetric: 4 of 10 images could not be decoded and count as images without '
        f'detections: {dataset.lake.name}: rows 1, 2, 5, 9'
    ]


def _evaluate(
    metrics_format: str, dataset: DeepLakeDataset, samples: list[dict]
) -> dict[str, float]:
    metric = DeepLakeMetric(metrics_format=metrics_format)
    metric.dataset_meta = dataset.metainfo
    metric.process(None, samples)
    return metric.evaluate(len(samples))


# ------------------------------------------------------------------ end of an epoch


@pytest.fixture
def log_lines(monkeypatch) -> Iterator[list[str]]:
    """Messages that reach MMEngine's current logger."""
    lines: list[str] = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(
        logger, 'handle', lambda record: lines.append(record.getMessage())
    )
    yield lines


class _Nothing(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        return dict(loss=self.weight.sum())


def test_the_rows_that_were_skipped_are_listed_at_the_end_of_each_epoch(tmp_path: Path):
    """Workers warn about a row once, with its cause; the hook lists all each time."""
    dataset = dict(
        type='DeepLakeDataset',
        deeplake_path=_broken_lake(tmp_path / 'lake'),
        pipeline=TRAIN,
        on_broken_image='skip',
    )
    wrapped = dict(
        type='ConcatDataset',
        datasets=[dict(type='RepeatDataset', times=2, dataset=dataset)],
    )
    runner = Runner(
        model=_Nothing(),
        work_dir=str(tmp_path),
        train_dataloader=dict(
            batch_size=2,
            num_workers=2,
            sampler=dict(type='DeepLakeLoader', shuffle=True),
            dataset=wrapped,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[HOOKS.build(dict(type='DeepLakeSkippedImagesHook'))],
        default_scope='mmdet',
        experiment_name='skips',
    )
    runner.train()
    log = next(tmp_path.glob('*/*.log')).read_text()
    name = runner.train_dataloader.dataset.datasets[0].dataset.lake.name
    for number, kind in BROKEN.items():
        text = f"one: {name}, column 'images', row {number}: {CAUSES[kind][1]}\n"
        assert log.count(f'the next image takes the place of a broken {text}') == 1
    for epoch in (1, 2):
        assert (
            f'4 images could not be decoded in epoch {epoch} and were replaced by the '
            f'next ones: {name}: rows 1, 2, 5, 9\n'
        ) in log
