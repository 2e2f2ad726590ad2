"""Converters of videos: what ``from_mot`` and ``from_youtube_vis`` write and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.clips import (
    IMAGES,
    VIDEOS,
    stock_mot_files,
    stock_vis_file,
    write_mot,
    write_youtube_vis,
)
from helpers.lakes import open_lake

from mmdet_deeplake_plugin.tools.from_coco import from_coco
from mmdet_deeplake_plugin.tools.from_mot import from_mot
from mmdet_deeplake_plugin.tools.from_mot import main as main_mot
from mmdet_deeplake_plugin.tools.from_youtube_vis import from_youtube_vis
from mmdet_deeplake_plugin.tools.from_youtube_vis import main as main_vis
from mmdet_deeplake_plugin.tools.to_coco import to_coco

FIRST = 'MOT17-02-FRCNN'


def content_of(lake: Path) -> dict[str, Any]:
    to_coco(str(lake), lake.parent / 'back.json', overwrite=True)
    return json.loads((lake.parent / 'back.json').read_text())


def test_a_folder_of_mot_round_trip(tmp_path: Path) -> None:
    """``to_coco`` gives the file that stock makes of the folder, to the last number."""
    stock = json.loads((stock_mot_files((folder := write_mot(tmp_path)).parent) / 'train_cocoformat.json').read_text())
    assert from_mot(folder, tmp_path / 'lake').endswith(
        'wrote 3 videos, 18 frames, 15 objects, 85 boxes from train'
    )
    assert content_of(tmp_path / 'lake') == stock
    lake = open_lake(str(tmp_path / 'lake'), writable=False)
    for row, name in enumerate(np.ravel(lake['file_name'][:])):
        assert lake['images'].get_bytes(row) == (folder / str(name)).read_bytes()


def test_youtube_vis_round_trip(tmp_path: Path) -> None:
    """Likewise, but for the video of each annotation, which is that of its image."""
    stock = json.loads(stock_vis_file((ann := write_youtube_vis(tmp_path)).parent).read_text())
    from_youtube_vis(ann, tmp_path / IMAGES, tmp_path / 'lake')
    for annotation in stock['annotations']:
        del annotation['video_id']
    assert content_of(tmp_path / 'lake') == stock
    from_coco(tmp_path / 'annotations/youtube_vis_2019_train.json', tmp_path / IMAGES, tmp_path / 'same')
    assert content_of(tmp_path / 'same') == stock


def test_some_sequences_and_test_sets(tmp_path: Path) -> None:
    """By name; a test set has no boxes, but the columns that a dataset needs."""
    folder = write_mot(tmp_path, 'test')
    text = from_mot(folder, tmp_path / 'lake', sequences=['MOT17-05-FRCNN', FIRST])
    assert text.endswith('wrote 2 videos, 13 frames, 0 objects, 0 boxes from test')
    assert 'instance_id' in {column.name for column in open_lake(str(tmp_path / 'lake')).schema.columns}
    ann = write_youtube_vis(tmp_path / 'vis', with_annotations=False)
    assert '0 boxes' in from_youtube_vis(ann, ann.parent / IMAGES, tmp_path / 'vis_lake')


def test_the_ten_columns_of_mot15(tmp_path: Path) -> None:
    """Their boxes are visible pedestrians; the rest is a position in space."""
    folder = write_mot(tmp_path)
    (folder / FIRST / 'gt/gt.txt').write_text('2,7,1.5,2,10,11.25,0,-1,-1,-1\n')
    from_mot(folder, tmp_path / 'lake', sequences=[FIRST])
    (box,) = content_of(tmp_path / 'lake')['annotations']
    assert {key: box[key] for key in ('category_id', 'mot_conf', 'visibility', 'mot_instance_id', 'bbox')} == {
        'category_id': 1,
        'mot_conf': 1,
        'visibility': 1,
        'mot_instance_id': 7,
        'bbox': [1.5, 2, 10, 11.25],
    }


def gt(text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / FIRST / 'gt/gt.txt').write_text(text)


def ini(old: str, new: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        file = folder / FIRST / 'seqinfo.ini'
        file.write_text(file.read_text().replace(old, new))

    return change


BAD_MOT: dict[str, tuple[Callable[[Path], Any], str]] = {
    'no ini': (ini('[Sequence]', ''), r'seqinfo.ini must be a file with a section \[Sequence\]'),
    'other section': (ini('[Sequence]', '[Video]'), r'must be a file with a section \[Sequence\]'),
    'name': (ini(f'name={FIRST}', 'name=x'), f"name must be that of the folder, '{FIRST}', got 'x'"),
    'length': (ini('seqLength=6', 'seqLength=7'), 'seqLength must be the number of frames, but is 7'),
    'no width': (ini('imWidth=64\n', ''), "imWidth must be a positive integer, got ''"),
    'width': (ini('imWidth=64', 'imWidth=6.4'), "imWidth must be a positive integer, got '6.4'"),
    'size': (ini('imWidth=64', 'imWidth=65'), '000001.jpg must have the size of its video, 65x48, but has 64x48'),
    'no frames': (ini('imDir=img1', 'imDir=img2'), r'folder of frames .*img2 \(imDir\) does not exist'),
    'frame name': (
        lambda folder: (folder / FIRST / 'img1/000006.jpg').rename(folder / FIRST / 'img1/last.jpg'),
        "a frame must be named by its number, .* got 'last.jpg'",
    ),
    'frames from 0': (
        lambda folder: (folder / FIRST / 'img1/000006.jpg').rename(folder / FIRST / 'img1/000000.jpg'),
        'gt.txt: boxes must be of frames that exist, but no file in .*img1 has the number of frame 6; frames count',
    ),
    'not an image': (
        lambda folder: (folder / FIRST / 'img1/000006.jpg').write_text('x'),
        'images must be JPEG, .* but 1 of 18 files',
    ),
    'eight values': (gt('1,1,2,3,4,5,1,1\n'), r'gt.txt, line 1 must have 9 values \(10 in MOT15\).* got 8'),
    'text': (gt('1,1,2,3,4,5,1,1,1\n1,a,2,3,4,5,1,1,1\n'), "line 2 must hold numbers: invalid literal .* 'a'"),
    'nan': (gt('1,1,2,3,nan,5,1,1,1\n'), 'line 1 must hold finite numbers'),
    'frame': (gt('7,1,2,3,4,5,1,1,1\n'), r'line 1: the frame must be 1 to 6 \(seqLength\), got 7'),
    'class': (gt('1,1,2,3,4,5,1,14,1\n'), 'line 1: the class must be 1 to 13, got 14'),
    'twice': (gt('1,1,2,3,4,5,1,1,1\n1,1,2,3,4,5,1,1,1\n'), 'but object 1 has two in frame 1'),
    'bytes': (
        lambda folder: (folder / FIRST / 'gt/gt.txt').write_bytes(b'\xff\xfe'),
        'gt.txt must be a text file in UTF-8',
    ),
}


def test_frames_are_sorted_by_number(tmp_path: Path) -> None:
    """Also where names are not padded, and text files have a byte order mark."""
    folder = write_mot(tmp_path)
    from_mot(folder, tmp_path / 'padded', sequences=[FIRST])
    (folder / FIRST / 'img1/000002.jpg').rename(folder / FIRST / 'img1/2.jpg')
    file = folder / FIRST / 'gt/gt.txt'
    file.write_text(file.read_text(), encoding='utf-8-sig')
    from_mot(folder, tmp_path / 'mixed', sequences=[FIRST])
    lakes = [open_lake(str(tmp_path / name), writable=False) for name in ('padded', 'mixed')]
    files = list(lakes[1]['file_name'][:])
    assert [int(Path(name).stem) for name in files] == [1, 2, 3, 4, 5, 6]
    for column in ('frame_id', 'boxes', 'instance_id'):
        for left, right in zip(*(list(lake[column][:]) for lake in lakes)):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize('kind', BAD_MOT)
def test_bad_folders_of_mot(kind: str, tmp_path: Path) -> None:
    """Each mistake is named, and nothing is left behind."""
    change, text = BAD_MOT[kind]
    change(folder := write_mot(tmp_path))
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        from_mot(folder, tmp_path / 'lake')
    assert not (tmp_path / 'lake').exists()


def test_bad_arguments_of_mot(tmp_path: Path) -> None:
    """A folder without sequences, a sequence that is not there, a third half."""
    folder = write_mot(tmp_path)
    with pytest.raises(FileNotFoundError, match='none does not exist; write a folder of sequences'):
        from_mot(tmp_path / 'none', tmp_path / 'lake')
    with pytest.raises(FileNotFoundError, match='must hold sequences, folders with'):
        from_mot(tmp_path, tmp_path / 'lake')
    with pytest.raises(ValueError, match=rf"no sequence 'MOT17-03-FRCNN' \(did you mean MOT17.*{FIRST}"):
        from_mot(folder, tmp_path / 'lake', sequences=['MOT17-03-FRCNN'])
    with pytest.raises(ValueError, match="half must be one of train, val, got 'test'"):
        from_mot(folder, tmp_path / 'lake', half='test')
    assert not (tmp_path / 'lake').exists()


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Sets a value at a path of keys; the last item is the value, or ``del``."""

    def change(content: dict[str, Any]) -> None:
        *keys, last, value = path
        place: Any = content
        for key in keys:
            place = place[key]
        if value == 'del':
            del place[last]
        else:
            place[last] = value

    return change


BAD_VIS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    'no videos': (put('videos', 'del'), "must have the keys 'videos', .* without 'videos'"),
    'no classes': (put('categories', 'del'), "without 'categories'"),
    'empty': (put('videos', []), "'videos' must not be empty"),
    'not a list': (put('annotations', {'a': 1}), "'annotations' must be a list of objects"),
    'video id': (put('videos', 1, 'id', '2'), r"videos\[1\] must have an integer 'id' .* got '2'"),
    'same video': (put('videos', 1, 'id', 1), r"videos\[1\] must have an integer 'id' that no other has"),
    'files': (put('videos', 0, 'file_names', []), r"videos\[0\] must have 'file_names', a list of paths"),
    'width': (put('videos', 0, 'width', '64'), r"videos\[0\] must have an integer 'width', got '64'"),
    'mask of another size': (put('videos', 0, 'width', 63), 'in an image of 48 x 63'),
    'track id': (put('annotations', 2, 'id', 1), r"annotations\[2\] must have an integer 'id' that no"),
    'of no video': (put('annotations', 2, 'video_id', 9), r"annotations\[2\] must have the 'video_id' of one"),
    'no boxes': (put('annotations', 0, 'bboxes', 'del'), r"annotations\[0\] must have 'bboxes' with .* 6 frames"),
    'few masks': (put('annotations', 0, 'segmentations', [None]), "'segmentations' with a value .* got 1"),
    'no area': (
        put('annotations', 0, 'areas', 0, None),
        r'annotations\[0\] must have a segmentation and an area in each frame with a box',
    ),
    'no class': (put('annotations', 0, 'category_id', 'del'), 'category_id'),
    'empty path': (put('videos', 0, 'file_names', 0, ''), r"videos\[0\] must have 'file_names', a list of paths"),
    'class': (put('annotations', 0, 'category_id', 7), "category_id 7, which is not in 'categories'"),
    'box': (put('annotations', 0, 'bboxes', 0, [1, 2, 3]), "must have a 'bbox' of 4 finite numbers"),
    'mask': (
        put('annotations', 0, 'segmentations', 0, 'counts', [5]),
        "has an invalid 'segmentation'",
    ),
    'no image': (put('videos', 0, 'file_names', 0, 'a.jpg'), "1 of 18 images are missing .* 'a.jpg'"),
}


@pytest.mark.parametrize('kind', BAD_VIS)
def test_bad_files_of_youtube_vis(kind: str, tmp_path: Path) -> None:
    """Each mistake is named, and nothing is left behind."""
    change, text = BAD_VIS[kind]
    content = json.loads((ann := write_youtube_vis(tmp_path)).read_text())
    change(content)
    ann.write_text(json.dumps(content))
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        from_youtube_vis(ann, tmp_path / IMAGES, tmp_path / 'lake')
    assert not (tmp_path / 'lake').exists()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(FileNotFoundError, match=r'a\.json does not exist'):
        from_youtube_vis(tmp_path / 'a.json', tmp_path, tmp_path / 'lake')
    (tmp_path / 'a.json').write_text('{')
    with pytest.raises(ValueError, match=r'a\.json is not a JSON file'):
        from_youtube_vis(tmp_path / 'a.json', tmp_path, tmp_path / 'lake')


def test_coco_vid_with_some_ids(tmp_path: Path) -> None:
    """An object without a number among others with one is an error of ``from_coco``."""
    file = stock_vis_file(write_youtube_vis(tmp_path).parent)
    content = json.loads(file.read_text())
    del content['annotations'][3]['instance_id']
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="annotation with id 4 must have an integer 'instance_id'"):
        from_coco(file, tmp_path / IMAGES, tmp_path / 'lake')


def test_command_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A summary, or one line and exit code 2; a lake that exists stays."""
    argv = [str(write_mot(tmp_path)), str(tmp_path / 'lake'), '--half', 'val', '--sequences', FIRST]
    assert main_mot(argv) == 0
    assert 'wrote 1 videos, 2 frames' in capsys.readouterr().out
    assert main_mot(argv) == 2
    assert 'already contains a lake; pass --overwrite' in capsys.readouterr().err
    ann = write_youtube_vis(tmp_path)
    argv = [str(ann), str(tmp_path / IMAGES), str(tmp_path / 'lake')]
    assert main_vis([*argv, '--overwrite']) == 0
    assert f'wrote {len(VIDEOS)} videos, 18 frames, 12 objects, 56 boxes' in capsys.readouterr().out
