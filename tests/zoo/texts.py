"""Writes the files of datasets with texts, of the boxes of the test data."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from mmdet_deeplake_plugin.tools.from_grounding import from_grounding
from mmdet_deeplake_plugin.tools.from_odvg import from_odvg
from zoo.source import Source

Files = dict[str, Any]
Classes = tuple[str, ...]
DATASETS = ('refcoco', 'refcoco+', 'refcocog')


def make_detections(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """ODVG lines of detections, with boxes that both leave out, and a label map."""
    names = [name for _, name in _categories(source)]
    lines = []
    for info, found in _annotated(source):
        instances = [
            {'bbox': _corners(box), 'label': label, 'category': names[label]}
            for label, box in found
        ]
        thin = {'bbox': [3, 3, 3.5, 90], 'label': 0, 'category': names[0]}
        lines.append(_line(info, detection={'instances': [thin, *instances]}))
    label_map = folder / 'label_map.json'
    label_map.write_text(json.dumps({str(i): name for i, name in enumerate(names)}))
    files = _write(folder, source, '\n'.join(lines))
    from_odvg(files['ann_file'], source.images, folder / 'lake', label_map)
    return {**files, 'label_map_file': str(label_map)}, str(folder / 'lake')


def make_captions(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """ODVG lines of captions."""
    lines = []
    for info, found in _annotated(source):
        caption, phrases = _caption(source, found)
        regions = []
        for phrase, spans, boxes in phrases:
            corners = [_corners(box) for box in boxes]
            box = corners[0] if len(corners) == 1 else corners
            regions.append({'bbox': box, 'phrase': phrase, 'tokens_positive': spans})
        lines.append(_line(info, grounding={'caption': caption, 'regions': regions}))
    files = _write(folder, source, '\n'.join(lines))
    from_odvg(files['ann_file'], source.images, folder / 'lake')
    return files, str(folder / 'lake')


def make_expressions(
    folder: Path, source: Source, classes: Classes, with_nothing: bool = False
) -> tuple[Files, str]:
    """An image for each of three expressions; every fourth may mean nothing."""
    images: list[Any] = []
    annotations = []
    names = dict(_categories(source))
    for info, found in _annotated(source):
        for label, box in found[:3]:
            number = len(images) + 1
            nothing = with_nothing and number % 4 == 0
            images.append(
                {
                    **_sized(info),
                    'id': number,
                    'original_id': info['id'],
                    'caption': f'the {names[label]} in the middle',
                    'dataset_name': DATASETS[number % 3],
                    'tokens_negative': [[0, 3]],
                }
            )
            annotations.append(
                {
                    'id': number,
                    'image_id': number,
                    'category_id': -1 if nothing else 1,
                    'bbox': [0, 0, 0, 0] if nothing else box,
                    'area': box[2] * box[3],
                    'iscrowd': 0,
                }
            )
    content = dict(images=images, annotations=annotations, categories=[_OBJECT])
    files = _write(folder, source, json.dumps(content))
    from_grounding('mdetr', files['ann_file'], source.images, folder / 'lake')
    return files, str(folder / 'lake')


def make_any_number(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """Expressions of which some mean nothing."""
    return make_expressions(folder, source, classes, with_nothing=True)


def make_phrases(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """A caption for each image, with the boxes of its phrases; ids in descending order."""
    images: list[Any] = []
    annotations: list[Any] = []
    for info, found in _annotated(source):
        caption, phrases = _caption(source, found)
        spans = [each for _, each, _ in phrases]
        number = 1000 - len(images)
        more = {'id': number, 'caption': caption, 'tokens_positive_eval': spans}
        images.append({**_sized(info), **more})
        for index, (_, _, boxes) in enumerate(phrases):
            for box in boxes:
                own = {'id': len(annotations) + 1, 'image_id': number, 'bbox': box}
                ids = {'category_id': 1, 'iscrowd': 0, 'phrase_ids': 10 + 7 * index}
                annotations.append({**own, **ids, 'area': box[2] * box[3]})
    content = dict(images=images, annotations=annotations, categories=[_OBJECT])
    files = _write(folder, source, json.dumps(content))
    from_grounding('flickr30k', files['ann_file'], source.images, folder / 'lake')
    return files, str(folder / 'lake')


def make_descriptions(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """Descriptions of one to a dozen words, in four groups."""
    names = [name for _, name in _categories(source)]
    words = ' that is seen from afar on a day like any other'.split(' ')
    sentences = {
        1 + label: {'id': 1 + label, 'raw_sent': name + ' '.join(words[: label % 12])}
        for label, name in enumerate(names)
    }
    groups = {
        group: {'inner_sent_id': [i for i in sentences if i % 4 == group]}
        for group in range(4)
    }
    images: dict[int, Any] = {}
    annotations: list[Any] = []
    for info, found in _annotated(source):
        number = len(images)
        images[number] = {**_sized(info), 'id': number, 'group_id': number % 4}
        for label, box in found:
            if (1 + label) % 4 == number % 4:
                own = {'id': len(annotations) + 1, 'image_id': number, 'bbox': box}
                area = {'area': box[2] * box[3], 'iscrowd': 0}
                annotations.append({**own, **area, 'category_id': 1 + label})
    pickles = folder / 'd3_pkl'
    pickles.mkdir()
    for name, value in dict(sentences=sentences, groups=groups, images=images).items():
        (pickles / f'{name}.pkl').write_bytes(pickle.dumps(value))
    categories = [{'id': i, 'name': each['raw_sent']} for i, each in sentences.items()]
    content = dict(
        images=list(images.values()), annotations=annotations, categories=categories
    )
    files = _write(folder, source, json.dumps(content))
    files['data_prefix'] = dict(img=str(source.images), anno=str(pickles))
    lake = folder / 'lake'
    from_grounding('dod', files['ann_file'], source.images, lake, anno_dir=pickles)
    return files, str(lake)


_OBJECT = {'supercategory': 'object', 'id': 1, 'name': 'object'}


def _categories(source: Source) -> list[tuple[int, str]]:
    """Label and name of COCO's 80 classes."""
    content = json.loads((source.images.parent / 'instances.json').read_text())
    return list(enumerate(category['name'] for category in content['categories']))


def _annotated(source: Source) -> list[tuple[dict[str, Any], list[Any]]]:
    """Images with their boxes: label, and left, top, width, height."""
    found: list[Any] = []
    for info in source.image_infos:
        boxes = [
            (source.category_index(ann), ann['bbox'])
            for ann, _ in source.painted(info)
            if not ann['iscrowd']
        ]
        if boxes:
            found.append((info, boxes))
    return found


def _caption(source: Source, found: list[Any]) -> tuple[str, list[Any]]:
    """A text that names the classes of an image, and its phrases with their boxes."""
    names = dict(_categories(source))
    text, phrases = '', []
    for label in dict.fromkeys(label for label, _ in found):
        phrase = f'a {names[label]}'
        span = [len(text), len(text) + len(phrase)]
        boxes = [box for other, box in found if other == label]
        phrases.append((phrase, [span], boxes))
        text += f'{phrase}, '
    return text.rstrip(', '), phrases


def _corners(box: list[float]) -> list[float]:
    x, y, w, h = box
    return [x, y, x + w, y + h]


def _sized(info: dict[str, Any]) -> dict[str, Any]:
    return {key: info[key] for key in ('file_name', 'height', 'width')}


def _line(info: dict[str, Any], **content: Any) -> str:
    sized = _sized(info)
    return json.dumps({'filename': sized.pop('file_name'), **sized, **content})


def _write(folder: Path, source: Source, content: str) -> Files:
    ann_file = folder / 'annotations.json'
    ann_file.write_text(content)
    prefix = dict(img=str(source.images))
    return dict(data_root='', ann_file=str(ann_file), data_prefix=prefix)
