"""Tiles cover every pixel, keep boxes exactly, and do not leak between splits."""

from __future__ import annotations

import itertools
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import cv2
import deeplake
import numpy as np
import pytest

from mmdet_deeplake_plugin.tools.from_voc import from_voc
from tile import main, tile
from tiling import output
from tiling.geometry import Region, clip_boxes, cut_region, origins
from tiling.split import split_by_image, split_by_strip

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
Box = tuple[int, ...]


def write_source(
    folder: Path, stem: str, size: tuple[int, int], boxes: list[Box]
) -> None:
    """Writes an XML file; the image is written by the fixture ``write_image``."""
    objects = ''
    for index, box in enumerate(boxes):
        corners = ''.join(f'<{tag}>{v}</{tag}>' for tag, v in zip(CORNERS, box))
        objects += (
            f'<object><name>c{index}</name><difficult>{index % 2}</difficult>'
            f'<bndbox>{corners}</bndbox></object>'
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'{stem}.xml').write_text(
        f'<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>'
        f'{objects}</annotation>'
    )


def read_split(dest: Path, split: str) -> list[str]:
    return (dest / 'ImageSets' / 'Main' / f'{split}.txt').read_text().splitlines()


def read_objects(dest: Path, name: str) -> list[tuple[str, Box, bool, bool]]:
    """Class, corners, truncated and difficult of each object of a tile."""
    root = ET.parse(dest / 'Annotations' / f'{name}.xml').getroot()
    return [
        (
            str(item.findtext('name')),
            tuple(int(str(item.findtext(f'bndbox/{tag}'))) for tag in CORNERS),
            item.findtext('truncated') == '1',
            item.findtext('difficult') == '1',
        )
        for item in root.findall('object')
    ]


def read_image(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path))
    assert pixels is not None
    return pixels.astype(int)


def tile_region(dest: Path, name: str) -> tuple[str, Region]:
    """Source and place of a tile, from its name and the size of its JPEG."""
    stem, left, top = name.rsplit('_', 2)
    height, width = read_image(dest / 'JPEGImages' / f'{name}.jpg').shape[:2]
    return stem, Region(int(left), int(top), width, height)


def covered(size: tuple[int, int], regions: list[Region]) -> np.ndarray:
    """How many of the regions hold each pixel, shape ``(height, width)``."""
    counts = np.zeros(size[::-1], int)
    for left, top, width, height in regions:
        assert left >= 0 and top >= 0
        assert left + width <= size[0] and top + height <= size[1]
        counts[top : top + height, left : left + width] += 1
    return counts


@pytest.mark.parametrize(
    ('length', 'expected'),
    [
        pytest.param(900, [0, 240, 480, 580], id='shifted-inwards'),
        pytest.param(800, [0, 240, 480], id='fits'),
        pytest.param(321, [0, 1], id='one-more-pixel'),
        pytest.param(320, [0], id='one-tile'),
        pytest.param(100, [0], id='smaller'),
    ],
)
def test_origins_by_hand(length: int, expected: list[int]) -> None:
    """Tiles of 320 pixels start 240 apart; the last one ends at the border."""
    assert origins(length, 320, 240) == expected


@pytest.mark.parametrize(
    ('size', 'stride'), [(1, 1), (7, 1), (7, 3), (7, 7), (10, 1), (10, 3), (10, 7)]
)
def test_tiles_cover_every_pixel(size: int, stride: int) -> None:
    """On a grid of image sizes every pixel is in a tile of full size, none outside."""
    for width, height in itertools.product([1, 6, 7, 8, 10, 11, 23], repeat=2):
        regions = cut_region(Region(0, 0, width, height), size, stride)
        assert covered((width, height), regions).all()
        assert len(set(regions)) == len(regions)
        expected = {(min(size, width), min(size, height))}
        assert {(region.width, region.height) for region in regions} == expected


@pytest.mark.parametrize('val_fraction', [0.0, 0.1, 0.15, 0.5, 0.95])
@pytest.mark.parametrize('seed', range(4))
def test_splits_share_no_pixel(val_fraction: float, seed: int) -> None:
    """Train and val tiles cover each image together and share no pixel of it."""
    sizes = [(23, 50), (41, 9), (20, 20), (19, 19), (8, 8), (30, 31), (5, 44)]
    parts = split_by_strip(sizes, 10, 7, val_fraction, seed)
    for index, size in enumerate(sizes):
        train, val = (
            covered(
                size,
                [
                    cut
                    for owner, region in parts[split]
                    if owner == index
                    for cut in cut_region(region, 10, 7)
                ],
            )
            for split in ('train', 'val')
        )
        assert not ((train > 0) & (val > 0)).any()
        assert ((train > 0) | (val > 0)).all()
    assert bool(parts['val']) == (val_fraction > 0)


def test_strip_by_hand() -> None:
    """Val is a whole number of tiles across the longer side, on either end."""
    image = (100, 60)
    found = {
        tuple(split_by_strip([image], 20, 15, 0.3, seed)['val'][0][1])
        for seed in range(10)
    }
    # 30 pixels are wanted; 20 + 15 is the nearest length that tiles fill evenly.
    assert found == {(0, 0, 35, 60), (65, 0, 35, 60)}
    train = split_by_strip([image], 20, 15, 0.3, 0)['train'][0][1]
    assert train in [(35, 0, 65, 60), (0, 0, 65, 60)]


def test_small_images_are_dealt_whole() -> None:
    """Images without room for two tiles go to a split as a whole, by the seed."""
    sizes = [(30, 30)] * 10
    vals = [
        tuple(index for index, _ in split_by_strip(sizes, 20, 15, 0.2, seed)['val'])
        for seed in range(5)
    ]
    assert {len(val) for val in vals} == {2}
    assert len(set(vals)) > 1
    again = split_by_strip(sizes, 20, 15, 0.2, 0)['val']
    assert tuple(index for index, _ in again) == vals[0]


def test_split_by_image() -> None:
    """Named images are val, all others train, each in one piece."""
    parts = split_by_image([(5, 6), (7, 8)], {0})
    assert parts == {'val': [(0, (0, 0, 5, 6))], 'train': [(1, (0, 0, 7, 8))]}


@pytest.mark.parametrize(
    ('box', 'expected'),
    [
        pytest.param((121, 61, 140, 100), (21, 11, 40, 50), id='inside'),
        pytest.param((101, 51, 140, 90), (1, 1, 40, 40), id='touches-corner'),
        pytest.param((91, 61, 111, 81), (1, 11, 11, 31), id='half-left'),
        pytest.param((130, 81, 160, 101), (30, 31, 40, 50), id='cut-right-and-bottom'),
        pytest.param((132, 61, 152, 81), (32, 11, 40, 31), id='exactly-0.4'),
        pytest.param((133, 61, 153, 81), None, id='just-below-0.4'),
        pytest.param((1, 1, 20, 20), None, id='elsewhere'),
        pytest.param((80, 61, 101, 81), None, id='touches-edge-only'),
        pytest.param((81, 41, 200, 200), None, id='around-the-tile'),
        pytest.param((121, 61, 121, 81), None, id='no-area'),
    ],
)
def test_boxes_by_hand(box: Box, expected: Box | None) -> None:
    """In the tile at (100, 50) of 40 x 50 pixels, VOC coordinates, from 0.4 on."""
    if box == (130, 81, 160, 101):
        minimum = (10 * 19) / (30 * 20)
    else:
        minimum = 0.4
    boxes = np.array([box], np.int64)
    kept, clipped = clip_boxes(boxes, Region(100, 50, 40, 50), minimum)
    assert clipped.tolist() == ([] if expected is None else [list(expected)])
    assert kept.tolist() == ([] if expected is None else [0])


def test_tile_by_hand(tmp_path: Path, write_image: Any) -> None:
    """One image of 70 x 40: places, objects, flags and lists of its tiles."""
    write_image(tmp_path / 'src' / 'a.png', 70, 40)
    boxes: list[Box] = [(1, 1, 10, 10), (25, 5, 35, 15), (35, 30, 70, 40), (9, 9, 9, 20)]
    write_source(tmp_path / 'src' / 'Annotations', 'a', (70, 40), boxes)
    dest = tmp_path / 'dest'
    tile(tmp_path / 'src', dest, size=40, stride=30, val_fraction=0)
    assert read_split(dest, 'train') == ['a_0_0', 'a_30_0']
    assert read_split(dest, 'val') == []
    assert read_objects(dest, 'a_0_0') == [
        ('c0', (1, 1, 10, 10), False, False),
        ('c1', (25, 5, 35, 15), False, True),
    ]
    # c1 shows 4 of 10 columns; c2 is seen in full here and 5 of 35 columns there.
    assert read_objects(dest, 'a_30_0') == [
        ('c1', (1, 5, 5, 15), True, True),
        ('c2', (5, 30, 40, 40), False, False),
    ]
    root = ET.parse(dest / 'Annotations' / 'a_30_0.xml').getroot()
    assert root.findtext('filename') == 'a_30_0.jpg'
    assert [root.findtext(f'size/{tag}') for tag in ('width', 'height', 'depth')] == [
        '40',
        '40',
        '3',
    ]


def test_pixels_are_those_of_the_source(tmp_path: Path, write_image: Any) -> None:
    """A tile shows its own place of the image, but for JPEG's loss at quality 95."""
    for stem, size in {'a': (100, 90), 'b': (80, 120)}.items():
        write_image(tmp_path / 'src' / f'{stem}.png', *size)
        write_source(tmp_path / 'src', stem, size, [(1, 1, 50, 50)])
    dest = tmp_path / 'dest'
    tile(tmp_path / 'src', dest, size=40, stride=30, val_fraction=0)
    names = read_split(dest, 'train')
    assert len(names) == 9 + 12
    for name in names:
        stem, (left, top, width, height) = tile_region(dest, name)
        image = read_image(tmp_path / 'src' / f'{stem}.png')
        pixels = read_image(dest / 'JPEGImages' / f'{name}.jpg')
        crop = image[top : top + height, left : left + width]
        assert np.abs(pixels - crop).mean() < 3


@pytest.fixture
def blood(shared_data: Path, tmp_path: Path) -> Path:
    """Four real images, two of which have a box without area."""
    folder = tmp_path / 'blood'
    folder.mkdir()
    for number in ('00000', '00002', '00338', '00343'):
        for source, suffix in (('images', 'jpg'), ('voc_annotations', 'xml')):
            name = f'BloodImage_{number}.{suffix}'
            shutil.copy(shared_data / 'bccd' / source / name, folder / name)
    return folder


def test_real_tiles_do_not_leak(blood: Path, tmp_path: Path) -> None:
    """In the files on disk no pixel is in both splits, and every pixel is in one."""
    dest = tmp_path / 'tiles'
    tile(blood, dest, size=240, stride=180)
    regions: dict[tuple[str, str], list[Region]] = {}
    for split in ('train', 'val'):
        for name in read_split(dest, split):
            stem, region = tile_region(dest, name)
            regions.setdefault((stem, split), []).append(region)
    stems = {stem for stem, _ in regions}
    assert len(stems) == 4
    for stem in stems:
        train = covered((640, 480), regions[stem, 'train'])
        val = covered((640, 480), regions[stem, 'val'])
        assert not ((train > 0) & (val > 0)).any()
        assert ((train > 0) | (val > 0)).all()


def test_tiles_round_trip_into_a_lake(blood: Path, tmp_path: Path) -> None:
    """A lake of the tiles holds each uncut object at its place in the source."""
    dest = tmp_path / 'tiles'
    tile(blood, dest, size=240, stride=180, min_visibility=1)
    found: dict[str, set[tuple[float, ...]]] = {}
    for split in ('train', 'val'):
        from_voc(dest, split, tmp_path / split)
        lake = deeplake.open_read_only(str(tmp_path / split))
        assert len(lake) == len(read_split(dest, split))
        for row in range(len(lake)):
            stem, left, top = str(lake['image_id'][row]).rsplit('_', 2)
            offset = np.array([int(left), int(top)] * 2)
            placed = np.asarray(lake['boxes'][row]) + offset
            found.setdefault(stem, set()).update(map(tuple, placed.tolist()))
    for stem, boxes in found.items():
        root = ET.parse(blood / f'{stem}.xml').getroot()
        expected = {
            tuple(float(str(box.findtext(tag))) - 1 for tag in CORNERS)
            for box in root.iter('bndbox')
        }
        assert boxes <= expected
        # Objects over 60 pixels, the overlap, need not lie in a tile as a whole.
        assert len(boxes) > 0.3 * len(expected)
    assert len(found) == 4


def test_objects_without_area_are_counted(
    blood: Path, tmp_path: Path, logged: list[str]
) -> None:
    """The log names the file of each dropped object."""
    tile(blood, tmp_path / 'tiles', size=240, stride=180)
    assert logged == [
        f'BloodImage_{number}.xml: dropping 1 objects whose box has no area'
        for number in ('00338', '00343')
    ]


def test_val_images(blood: Path, tmp_path: Path) -> None:
    """Named images are val as a whole, by stem or by file name."""
    dest = tmp_path / 'tiles'
    names = ['BloodImage_00338', 'BloodImage_00000.jpg']
    tile(blood, dest, size=240, stride=180, val_images=names)
    stems = {
        split: {name.rsplit('_', 2)[0] for name in read_split(dest, split)}
        for split in ('train', 'val')
    }
    assert stems == {
        'train': {'BloodImage_00002', 'BloodImage_00343'},
        'val': {'BloodImage_00000', 'BloodImage_00338'},
    }


def test_same_seed_same_split(blood: Path, tmp_path: Path) -> None:
    """The split follows from the seed alone, and seeds differ."""
    vals = []
    for run, seed in enumerate([0, 0, 1, 2, 3]):
        dest = tmp_path / str(run)
        tile(blood, dest, size=240, stride=180, seed=seed)
        vals.append(read_split(dest, 'val'))
    assert vals[0] == vals[1]
    assert any(val != vals[0] for val in vals[2:])


def test_small_images_are_kept_whole(tmp_path: Path, write_image: Any) -> None:
    """Images smaller than a tile give one tile of their own size, boxes unchanged."""
    for stem, size in {'a': (30, 20), 'b': (30, 50)}.items():
        write_image(tmp_path / 'src' / f'{stem}.jpg', *size)
        write_source(tmp_path / 'src', stem, size, [(1, 1, *size)])
    dest = tmp_path / 'dest'
    tile(tmp_path / 'src', dest, size=40, stride=30, val_images=['b'])
    assert [tile_region(dest, name) for name in read_split(dest, 'train')] == [
        ('a', (0, 0, 30, 20))
    ]
    assert [tile_region(dest, name) for name in read_split(dest, 'val')] == [
        ('b', (0, 0, 30, 40)),
        ('b', (0, 10, 30, 40)),
    ]
    assert read_objects(dest, 'a_0_0') == [('c0', (1, 1, 30, 20), False, False)]


def test_which_images_are_taken(
    tmp_path: Path, write_image: Any, logged: list[str]
) -> None:
    """One image a stem, PNG first; those without XML are left out and named."""
    for name in ('a.jpg', 'a.tif', 'a.png', 'b.JPG', 'c.jpg', 'notes.txt'):
        if name.endswith('.txt'):
            (tmp_path / 'src' / name).write_text('x')
        else:
            write_image(tmp_path / 'src' / name)
    for name in ('a.jpg', 'a.tif'):
        (tmp_path / 'src' / name).write_bytes(b'not decoded')
    for stem in 'ab':
        write_source(tmp_path / 'src', stem, (40, 30), [(1, 1, 9, 9)])
    tile(tmp_path / 'src', tmp_path / 'dest', val_fraction=0)
    assert read_split(tmp_path / 'dest', 'train') == ['a_0_0', 'b_0_0']
    assert logged == ['Skipping 1 images without .xml file: c.jpg']

    tile(tmp_path / 'src', tmp_path / 'one', val_fraction=0, images=['b.JPG'])
    assert read_split(tmp_path / 'one', 'train') == ['b_0_0']
    with pytest.raises(FileNotFoundError, match=r"1 of 1 images have no .* 'c.jpg'"):
        tile(tmp_path / 'src', tmp_path / 'two', val_fraction=0, images=['c'])


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        pytest.param(
            {'stride': 50}, '--stride must be between 1 and --size 40, got 50', id='gap'
        ),
        pytest.param(
            {'stride': 0},
            '--stride must be between 1 and --size 40, got 0',
            id='stride-0',
        ),
        pytest.param(
            {'min_visibility': 1.1},
            '--min-visibility must be between 0 and 1, got 1.1',
            id='visibility',
        ),
        pytest.param(
            {'val_fraction': 1}, '--val-fraction must be .* got 1', id='all-val'
        ),
        pytest.param(
            {'size': 100, 'stride': 90}, 'the val split would be empty', id='no-val'
        ),
        pytest.param(
            {'val_images': ['a']}, 'the train split would be empty', id='no-train'
        ),
        pytest.param(
            {'val_images': ['z']},
            "--val-images names 'z', which is not one of the images: a.png",
            id='unknown-val',
        ),
        pytest.param(
            {'images': ['z']},
            "--images names 'z', which is not one of the images: a.png",
            id='unknown-image',
        ),
    ],
)
def test_bad_options(
    tmp_path: Path, write_image: Any, options: dict[str, Any], text: str
) -> None:
    """Each mistake in the options is named with the option, before writing."""
    write_image(tmp_path / 'src' / 'a.png', 100, 40)
    write_source(tmp_path / 'src', 'a', (100, 40), [(1, 1, 9, 9)])
    with pytest.raises(ValueError, match=text):
        tile(tmp_path / 'src', tmp_path / 'dest', **{'size': 40, 'stride': 30, **options})
    assert [path.name for path in tmp_path.iterdir()] == ['src']


def test_bad_sources(tmp_path: Path, write_image: Any) -> None:
    """Missing folders, images that do not decode, and wrong sizes are named."""
    source, dest = tmp_path / 'src', tmp_path / 'dest'
    with pytest.raises(FileNotFoundError, match=r'SRC_DIR .*src does not exist'):
        tile(source, dest)
    source.mkdir()
    with pytest.raises(FileNotFoundError, match='contains no PNG, JPEG or TIFF image'):
        tile(source, dest)
    write_image(source / 'a.png', 100, 40)
    with pytest.raises(FileNotFoundError, match=r'1 of 1 images have no VOC .xml'):
        tile(source, dest)
    write_source(source, 'a', (40, 100), [])
    with pytest.raises(ValueError, match=r'has 100x40 pixels, but .* says 40x100'):
        tile(source, dest, size=20, stride=20)
    (source / 'a.png').write_bytes(b'\x89PNG')
    with pytest.raises(ValueError, match=r'a.png cannot be decoded'):
        tile(source, dest, size=20, stride=20)
    assert [path.name for path in tmp_path.iterdir()] == ['src']


def test_only_tiles_are_replaced(
    blood: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old tiles need ``--overwrite`` and outlive a failure; other files stay."""
    dest = tmp_path / 'tiles'
    tile(blood, dest, size=240, stride=240)
    before = read_split(dest, 'train')
    with pytest.raises(FileExistsError, match='already contains tiles; pass --overwrite'):
        tile(blood, dest, size=300, stride=300)

    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(output, 'write_voc', fail)
        with pytest.raises(KeyboardInterrupt):
            tile(blood, dest, size=300, stride=300, overwrite=True)
    assert read_split(dest, 'train') == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['blood', 'tiles']

    tile(blood, dest, size=300, stride=300, overwrite=True)
    assert read_split(dest, 'train') != before
    with pytest.raises(FileExistsError, match=r"such as 'BloodImage_00000.jpg'"):
        tile(dest, blood, overwrite=True)
    with pytest.raises(ValueError, match=r'SRC_DIR .* must not be inside DEST_DIR'):
        tile(dest / 'JPEGImages', dest, overwrite=True)


def test_command_line(
    blood: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command counts tiles and boxes; a mistake is one line and exit code 2."""
    dest = tmp_path / 'tiles'
    argv = [str(blood), str(dest), '--size', '240', '--stride', '180']
    assert main([*argv, '--val-images', 'BloodImage_00000,BloodImage_00002']) == 0
    counts = {
        split: (
            len(read_split(dest, split)),
            sum(len(read_objects(dest, name)) for name in read_split(dest, split)),
        )
        for split in ('train', 'val')
    }
    out = capsys.readouterr().out
    for split, (tiles, boxes) in counts.items():
        assert f'{tiles} {split} tiles with {boxes} boxes' in out
    assert main(argv) == 2
    assert 'error: DEST_DIR' in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` ends with a command to copy."""
    with pytest.raises(SystemExit) as exit_info:
        main(['--help'])
    assert exit_info.value.code == 0
    assert 'example: python configs/demo/tile.py ' in capsys.readouterr().out
