"""Images of every kind, however they are stored: sizes and pixels of the same file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cv2
import deeplake
import numpy as np
import pytest
from deeplake import types
from helpers.lakes import IMAGE_TYPES, open_lake, row, write_lake
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmdet.utils import register_all_modules
from PIL import Image, ImageFile, ImageOps

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.lake.images.encoded import storage_of
from mmdet_deeplake_plugin.structures import image_header

register_all_modules()

BARE = {'width': None, 'height': None}
LOADERS = [
    (color, decoder)
    for color in ('color', 'grayscale', 'unchanged')
    for decoder in ('cv2', 'pillow')
]
ON_ITS_SIDE, MIRRORED = 6, 2


def _pixels(seed: int = 0, channels: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    """A picture of 36 x 24 pixels, of another brightness for each seed."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    values = rng.integers(0, top, (6, 9, channels)).astype(np.float32)
    values = cv2.resize(values, (36, 24), interpolation=cv2.INTER_CUBIC)
    values = np.clip(values, 0, top).astype(dtype)
    return values if channels > 1 else values.reshape(24, 36)


def _file(
    kind: str, pixels: np.ndarray, orientation: int = 0, mode: str | None = None
) -> bytes:
    """An image file of some kind."""
    image = Image.fromarray(pixels)
    image = image.convert(mode) if mode else image
    options = {}
    if orientation:
        options['exif'] = Image.Exif()
        options['exif'][0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _png16(channels: int) -> bytes:
    return cv2.imencode('.png', _pixels(channels=channels, dtype=np.uint16))[1].tobytes()


# Kind -> file, and the name of the column's type in which it lies.
KINDS: dict[str, tuple[bytes, str]] = {
    'jpeg': (_file('JPEG', _pixels()), 'jpeg'),
    'jpeg-grey': (_file('JPEG', _pixels(channels=1)), 'jpeg'),
    'jpeg-cmyk': (_file('JPEG', _pixels(), mode='CMYK'), 'jpeg'),
    'jpeg-on-its-side': (_file('JPEG', _pixels(), ON_ITS_SIDE), 'jpeg'),
    'jpeg-mirrored': (_file('JPEG', _pixels(), MIRRORED), 'jpeg'),
    'jpeg-in-png-column': (_file('JPEG', _pixels()), 'png'),
    'jpeg-on-its-side-in-png-column': (_file('JPEG', _pixels(), ON_ITS_SIDE), 'png'),
    'png': (_file('PNG', _pixels()), 'png'),
    'png-in-jpeg-column': (_file('PNG', _pixels()), 'jpeg'),
    'png-grey': (_file('PNG', _pixels(channels=1)), 'png'),
    'png-rgba': (_file('PNG', _pixels(channels=4)), 'png'),
    'png-palette': (_file('PNG', _pixels(), mode='P'), 'png'),
    'png-16-bit': (_png16(3), 'png'),
    'png-16-bit-grey': (_png16(1), 'png'),
    'png-on-its-side-in-jpeg-column': (_file('PNG', _pixels(), ON_ITS_SIDE), 'jpeg'),
    'webp': (_file('WEBP', _pixels()), 'jpeg'),
    'webp-on-its-side': (_file('WEBP', _pixels(), ON_ITS_SIDE), 'jpeg'),
    'bmp': (_file('BMP', _pixels()), 'jpeg'),
    'tiff': (_file('TIFF', _pixels()), 'jpeg'),
    'tiff-on-its-side': (_file('TIFF', _pixels(), ON_ITS_SIDE), 'png'),
    'gif': (_file('GIF', _pixels(), mode='P'), 'png'),
    'jpeg-2000': (_file('JPEG2000', _pixels()), 'png'),
    'webp-in-a-column-of-bytes': (_file('WEBP', _pixels()), 'bytes'),
    'jpeg-in-an-uncompressed-column': (_file('JPEG', _pixels()), 'uncompressed'),
    'webp-in-a-nullable-column': (_file('WEBP', _pixels()), 'nullable'),
}
# Kind -> stored array, the column's type, and the file that holds the same pixels.
ARRAYS: dict[str, tuple[np.ndarray, str]] = {
    'array-in-png-column': (_pixels(), 'png'),
    'rgba-array-in-png-column': (_pixels(channels=4), 'png'),
    'grey-array-in-png-column': (_pixels(channels=1)[..., None], 'png'),
    '16-bit-array-in-png-column': (_pixels(dtype=np.uint16), 'png-16-bit'),
    'uncompressed': (_pixels(), 'uncompressed'),
    'uncompressed-rgba': (_pixels(channels=4), 'uncompressed'),
    'uncompressed-grey': (_pixels(channels=1)[..., None], 'uncompressed'),
    'uncompressed-16-bit': (_pixels(dtype=np.uint16), 'uncompressed-16-bit'),
    'plain-array': (_pixels(), 'array'),
    'nullable': (_pixels(), 'nullable'),
    'nullable-uncompressed': (_pixels(), 'nullable-uncompressed'),
}


def _png_of(pixels: np.ndarray) -> bytes:
    """The PNG that a user would write of an array with channels in RGB order."""
    if pixels.shape[-1] >= 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]]
    return cv2.imencode('.png', pixels)[1].tobytes()


def _datasets(
    tmp_path: Path, stored: list[Any], files: list[bytes], column: str, **kwargs: Any
) -> tuple[DeepLakeDataset, CocoDataset]:
    """The lake of what is stored, and mmdet's own dataset of the same as files."""
    images, annotations = [], []
    for number, content in enumerate(files):
        (tmp_path / f'{number:06d}.img').write_bytes(content)
        with Image.open(io.BytesIO(content)) as image:
            width, height = ImageOps.exif_transpose(image).size
        images.append(
            dict(id=number, file_name=f'{number:06d}.img', width=width, height=height)
        )
        annotations.append(
            dict(
                id=number + 1,
                image_id=number,
                category_id=number % 3,
                bbox=[1, 2, 10, 12],
                area=120,
                iscrowd=0,
            )
        )
    names = ('cat', 'dog', 'owl')
    categories = [dict(id=number, name=name) for number, name in enumerate(names)]
    ann_file = tmp_path / 'coco.json'
    ann_file.write_text(
        json.dumps(dict(images=images, annotations=annotations, categories=categories))
    )
    stock = CocoDataset(
        ann_file=str(ann_file),
        data_prefix=dict(img=str(tmp_path)),
        metainfo=dict(classes=names),
        **kwargs,
    )
    rows = [{**row(number), 'images': value} for number, value in enumerate(stored)]
    columns = {'images': IMAGE_TYPES[column], **BARE}
    ours = DeepLakeDataset(
        write_lake(tmp_path / 'lake', rows, columns),
        deeplake_tensors=dict(img='images'),
        **kwargs,
    )
    return ours, stock


def _assert_same_images(ours: DeepLakeDataset, stock: CocoDataset) -> None:
    assert len(ours) == len(stock)
    for index in range(len(stock)):
        info, expected = ours.get_data_info(index), stock.get_data_info(index)
        for key in ('width', 'height'):
            assert info[key] == expected[key], key
        for color, decoder in LOADERS:
            load = LoadImageFromFile(color_type=color, imdecode_backend=decoder)
            found, wanted = load.transform(info), load.transform(expected)
            where = f'{color} by {decoder}'
            assert found['img'].dtype == wanted['img'].dtype, where
            np.testing.assert_array_equal(found['img'], wanted['img'], where)
            assert found['ori_shape'] == wanted['ori_shape'], where


@pytest.mark.parametrize(('content', 'column'), KINDS.values(), ids=KINDS)
def test_an_image_file_in_a_lake_is_the_file_on_disk(content, column, tmp_path):
    """Size and pixels, in colour, grey and unchanged, by OpenCV and Pillow."""
    files = [content, _file('JPEG' if column == 'jpeg' else 'PNG', _pixels(7))]
    _assert_same_images(*_datasets(tmp_path, files, files, column))


@pytest.mark.parametrize(('pixels', 'column'), ARRAYS.values(), ids=ARRAYS)
def test_an_array_in_a_lake_is_a_png_of_its_pixels(pixels, column, tmp_path):
    """What was appended as an array comes out of the stock loader as a PNG of it."""
    stored = [pixels, pixels[::-1].copy()]
    files = [_png_of(pixels) for pixels in stored]
    _assert_same_images(*_datasets(tmp_path, stored, files, column))


def test_an_array_in_a_jpeg_column_is_what_deep_lake_made_of_it(tmp_path):
    """Deep Lake encodes it, with loss; the pixels are those that it shows itself."""
    stored = [_pixels(), _pixels(1)]
    rows = [{**row(number), 'images': pixels} for number, pixels in enumerate(stored)]
    path = write_lake(tmp_path / 'lake', rows, BARE)
    dataset = DeepLakeDataset(path, pipeline=[dict(type='LoadImageFromFile')])
    lake = open_lake(path, writable=False)
    for index in range(2):
        shown = lake['images'][index][..., ::-1]
        np.testing.assert_array_equal(dataset[index]['img'], shown)
        assert dataset[index]['img'].shape[:2] == (24, 36)
        info = dataset.get_data_info(index)
        assert (info['width'], info['height']) == (36, 24)


def test_a_jpeg_in_a_nullable_column_has_the_pixels_of_its_file(tmp_path):
    """Deep Lake gives its pixels only; in colour they are those of the JPEG."""
    files = [_file('JPEG', _pixels(seed)) for seed in (0, 1)]
    ours, stock = _datasets(tmp_path, files, files, 'nullable-jpeg')
    for index in range(2):
        info, expected = ours.get_data_info(index), stock.get_data_info(index)
        assert (info['width'], info['height']) == (36, 24)
        found, wanted = map(LoadImageFromFile().transform, (info, expected))
        np.testing.assert_array_equal(found['img'], wanted['img'])


@pytest.mark.parametrize('form', ['path', 'file-url', 'relative', 'http'])
def test_a_linked_image_is_the_file_that_it_names(
    form, tmp_path, monkeypatch, file_server
):
    """Whatever the file is: its bytes are fetched, with its own orientation."""
    contents = [
        _file('JPEG', _pixels(), ON_ITS_SIDE),
        _file('WEBP', _pixels(1)),
        _file('PNG', _pixels(2, 4)),
    ]
    names = ['a.jpg', 'b c.webp', 'd.png']
    for name, content in zip(names, contents):
        (tmp_path / name).write_bytes(content)
    root = {
        'path': f'{tmp_path}/',
        'file-url': f'file://{tmp_path}/',
        'relative': '',
        'http': f'{file_server(tmp_path)}/',
    }[form]
    monkeypatch.chdir(tmp_path)
    links = [root + name for name in names]
    if form == 'http':
        links = [link.replace(' ', '%20') for link in links]
    _assert_same_images(*_datasets(tmp_path, links, contents, 'link'))


def test_sizes_are_read_without_decoding(tmp_path, monkeypatch):
    """No kind of file is decoded for its size, and no pixel either by Pillow."""
    contents = [content for content, column in KINDS.values() if column == 'png']

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError('an image is decoded')

    monkeypatch.setattr(image_header.mmcv, 'imfrombytes', refuse)
    monkeypatch.setattr(ImageFile.ImageFile, 'load', refuse)
    rows = [{**row(i), 'images': content} for i, content in enumerate(contents)]
    columns = {'images': IMAGE_TYPES['png'], **BARE}
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', rows, columns))
    sizes = {dataset.get_data_info(index)['width'] for index in range(len(rows))}
    assert sizes == {36, 24}


def test_stored_sizes_win_over_those_of_the_image(tmp_path):
    """As CocoDataset takes its file's numbers, whatever the orientation says."""
    values = {**row(0), 'images': KINDS['jpeg-on-its-side'][0], 'width': 7, 'height': 8}
    info = DeepLakeDataset(write_lake(tmp_path / 'lake', [values])).get_data_info(0)
    assert (info['width'], info['height']) == (7, 8)


def test_one_turned_image_among_the_probed_ones_has_all_headers_read(tmp_path):
    """Every JPEG gets its own orientation, also in a query that leaves the probe out."""
    upright, turned = KINDS['jpeg'][0], KINDS['jpeg-on-its-side'][0]
    rows = [{**row(i), 'images': turned if i % 3 else upright} for i in range(6)]
    path = write_lake(tmp_path / 'lake', rows, BARE)
    for query in ('', 'SELECT * WHERE image_id == 3 OR image_id == 4'):
        dataset = DeepLakeDataset(path, deeplake_query=query)
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            wanted = (24, 36) if info['img_id'] % 3 else (36, 24)
            assert (info['width'], info['height']) == wanted


@pytest.mark.parametrize('column', ['jpeg', 'png', 'link'])
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
def test_boxes_in_fractions_are_those_of_the_turned_image(tmp_path, kind, column):
    """A fraction of the width is one of the width that the pipeline sees."""
    content = _file(kind, _pixels(), ON_ITS_SIDE)
    (tmp_path / 'image').write_bytes(content)
    stored = str(tmp_path / 'image') if column == 'link' else content
    values = {**row(0, [(0.5, 0.25, 1, 1)]), 'images': stored}
    columns = {**BARE, 'images': IMAGE_TYPES[column]}
    path = write_lake(tmp_path / 'lake', [values], columns)
    info = DeepLakeDataset(path, box_format='xyxyn').get_data_info(0)
    assert info['instances'][0]['bbox'] == [12, 9, 24, 36]


@pytest.mark.parametrize('column', ['link', 'nullable', 'uncompressed', 'jpeg'])
def test_images_of_a_batch_are_read_as_their_column_asks(column, tmp_path):
    """Where batches are read as lists, a list of links or arrays is not one of images."""
    contents = [_file('JPEG', _pixels(seed)) for seed in range(3)]
    stored: list[Any] = contents
    if column == 'link':
        stored = [str(tmp_path / f'{number:06d}.img') for number in range(3)]
    pipeline = [dict(type='LoadImageFromFile')]
    ours, stock = _datasets(tmp_path, stored, contents, column, pipeline=pipeline)
    ours.reader.in_lists = True
    assert ours.reader.has_chunks == (column == 'jpeg')
    samples = ours.__getitems__([2, 0, 1])
    for index, sample in zip([2, 0, 1], samples):
        np.testing.assert_array_equal(sample['img'], stock[index]['img'])


class OlderType:
    """A type of a column as Deep Lake 4.5 has it: it does not tell its compression."""

    def __init__(self, dtype: Any) -> None:
        self._dtype = dtype

    def __getattr__(self, name: str) -> Any:
        if name == 'sample_compression':
            raise AttributeError(name)
        return getattr(self._dtype, name)

    def __eq__(self, other: object) -> bool:
        return self._dtype == other

    __hash__ = None


STORAGES = {
    **{name: dtype for name, dtype in IMAGE_TYPES.items() if name != 'nullable-link'},
    'map': types.SegmentMask(sample_compression='png'),
    'map-16-bit': types.SegmentMask(dtype='uint16', sample_compression='png'),
    'plain-map': types.SegmentMask(),
}


@pytest.mark.parametrize('name', STORAGES)
def test_a_compression_that_is_not_told_is_found(name, tmp_path):
    """Images are stored in the same way, whether the version tells or not."""
    path = str(tmp_path / 'lake')
    lake = deeplake.create(path)
    lake.add_column('images', STORAGES[name])
    dtype = lake.schema['images'].dtype
    assert storage_of(OlderType(dtype)) == storage_of(dtype)
