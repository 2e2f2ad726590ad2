"""Files of expressions, phrases and descriptions: their samples, and what is refused."""

from __future__ import annotations

import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import open_lake
from helpers.samples import assert_equal, seeded
from mmdet.datasets import (
    DODDataset,
    Flickr30kDataset,
    MDETRStyleRefCocoDataset,
    RefCocoDataset,
)
from mmdet.utils import register_all_modules
from zoo.lent import lent

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.tools.from_grounding import from_grounding, main

register_all_modules()

SIZE = {'height': 40, 'width': 64}
CAPTION = 'a cat beside two Käuze'
EXPRESSIONS: dict[str, Any] = {
    'images': [
        {'id': 7, 'file_name': 'b.jpg', **SIZE, 'caption': 'the cat', 'dataset_name': 'refcoco'},
        {'id': 3, 'file_name': 'b.jpg', **SIZE, 'caption': 'nothing', 'dataset_name': 'grefcoco'},
        {'id': 5, 'file_name': 'a.jpg', **SIZE, 'caption': 'Uhu', 'dataset_name': 'refcocog'},
    ],
    'annotations': [
        {'id': 1, 'image_id': 5, 'category_id': 1, 'bbox': [0.1, 0.2, 0.5, 70.3]},
        {'id': 2, 'image_id': 7, 'category_id': 1, 'bbox': [1.5, 2, 20.25, 30]},
        {'id': 4, 'image_id': 3, 'category_id': -1, 'bbox': [0, 0, 0, 0]},
        {'id': 9, 'image_id': 7, 'category_id': 4, 'bbox': [90, 2, 20, 30]},
    ],
    'categories': [{'id': 1, 'name': 'object'}],
}
SPANS = [[[2, 5]], [[13, 16], [17, 22]]]
PHRASES: dict[str, Any] = {
    'images': [
        {'id': 9, 'file_name': 'b.jpg', **SIZE, 'caption': CAPTION, 'tokens_positive_eval': SPANS},
        {'id': 2, 'file_name': 'a.jpg', **SIZE, 'caption': 'a', 'tokens_positive_eval': []},
    ],
    'annotations': [
        {'id': i, 'image_id': 9, 'category_id': 1, 'iscrowd': i % 3 // 2, 'phrase_ids': ids, 'bbox': box}
        for i, (ids, box) in enumerate(
            [(44, [1.5, 2, 20, 30]), (8, [3, 3, 0.5, 9]), (44, [90, 2, 20, 30])]
        )
    ],
    'categories': [{'id': 1, 'name': 'object'}],
}
SQUARE = [[1, 1, 9, 1, 9, 9, 1, 9]]
INSTANCES: dict[str, Any] = {
    'images': [{'id': i, 'file_name': name, **SIZE} for i, name in ((1290, 'b.jpg'), (5, 'a.jpg'))],
    'annotations': [
        {'id': i, 'image_id': image, 'category_id': 3, 'bbox': [1, 1, 8, 8], 'segmentation': mask}
        for i, image, mask in (
            (11, 1290, SQUARE),
            (12, 5, {'size': [40, 64], 'counts': [80, 30, 2450]}),
            (13, 1290, [[5, 5, 30, 5, 30, 30]]),
            (14, 5, SQUARE),
        )
    ],
}
REFS: list[dict[str, Any]] = [
    {'ref_id': i, 'ann_id': ann, 'image_id': image, 'split': split, 'sentences': [{'raw': t} for t in texts]}
    for i, ann, image, split, texts in (
        (1, 11, 1290, 'val', ['The Cat', 'left one']),
        (2, 13, 1290, 'val', ['Uhu']),
        (3, 12, 5, 'val', ['a dog', 'Dog', 'the dog']),
        (4, 14, 5, 'testA', ['not here']),
        (5, 11, 1290, 'val', ['another name', 'cat']),
    )
]
SENTENCES = {i: {'id': i, 'raw_sent': text} for i, text in enumerate(('a cat', 'dog', 'Uhu', 'x y'), 1)}
GROUPS = {0: {'inner_sent_id': [3, 1]}, 1: {'inner_sent_id': [4, 2, 1]}}
IMAGES = {
    8: {'id': 8, 'file_name': 'b.jpg', **SIZE, 'group_id': 1},
    3: {'id': 3, 'file_name': 'a.jpg', **SIZE, 'group_id': 0},
}
DESCRIBED: dict[str, Any] = {
    'images': list(IMAGES.values()),
    'annotations': [
        {'id': i, 'image_id': image, 'category_id': cat, 'bbox': box}
        for i, image, cat, box in ((1, 8, 4, [1, 2, 20, 30]), (2, 3, 1, [0.1, 0.2, 0.5, 70.3]), (3, 8, 2, [1, 2, 3, 4]))
    ],
    'categories': [{'id': i, 'name': each['raw_sent']} for i, each in SENTENCES.items()],
}
CONTENT = {'mdetr': EXPRESSIONS, 'flickr30k': PHRASES, 'refcoco': INSTANCES, 'dod': DESCRIBED}
KEYS = ('img_id', 'ori_shape', 'text', 'custom_entities', 'tokens_positive', 'dataset_mode')
MORE = ('phrase_ids', 'phrases', 'sent_ids', 'gt_masks')


@pytest.fixture
def root(tmp_path: Path, write_image: Any) -> Path:
    """A folder with two images, and the files of each format."""
    folder = tmp_path / 'data'
    for name in ('a.jpg', 'b.jpg'):
        write_image(folder / 'images' / name, 64, 40)
    for form, content in CONTENT.items():
        (folder / f'{form}.json').write_text(json.dumps(content))
    write_pickles(folder)
    return folder


def write_pickles(folder: Path, **changes: Any) -> None:
    content = dict(sentences=SENTENCES, groups=GROUPS, images=IMAGES, refs=REFS)
    for name, value in {**content, **changes}.items():
        (folder / f'{name}.pkl').write_bytes(pickle.dumps(value))


def convert(folder: Path, form: str, **options: Any) -> str:
    own: dict[str, Any] = {
        'refcoco': dict(refs=folder / 'refs.pkl', split='val'),
        'dod': dict(anno_dir=folder),
    }.get(form, {})
    lake = folder.parent / 'lake'
    from_grounding(form, folder / f'{form}.json', folder / 'images', lake, **{**own, **options})
    return str(lake)


def stock_dataset(folder: Path, form: str, **keys: Any) -> Any:
    keys = dict(ann_file=f'{form}.json', data_root=str(folder), **keys)
    if form == 'refcoco':
        keys.setdefault('text_mode', 'select_first')
        prefix = dict(img_path='images/')
        return RefCocoDataset(split_file='refs.pkl', split='val', data_prefix=prefix, **keys)
    if form == 'dod':
        prefix = dict(img='images', anno='')
        keys['ann_file'] = str(folder / 'dod.json')
        return DODDataset(data_prefix=prefix, return_classes=True, **keys)
    kind = MDETRStyleRefCocoDataset if form == 'mdetr' else Flickr30kDataset
    return kind(data_prefix=dict(img='images'), return_classes=True, **keys)


def pipeline(form: str) -> list[dict[str, Any]]:
    masks = form == 'refcoco'
    return [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=not masks, with_label=not masks, with_mask=masks),
        dict(type='PackDetInputs', meta_keys=(*KEYS, *MORE)),
    ]


def assert_samples_equal(ours: Any, stock: Any, form: str) -> None:
    """Before and after the pipelines."""
    assert len(ours) == len(stock) > 1
    for index in range(len(stock)):
        info, expected = ours.get_data_info(index), stock.get_data_info(index)
        if form == 'refcoco':  # stock has masks alone
            info['instances'] = [
                {key: part[key] for key in ('mask', 'ignore_flag')} for part in info['instances']
            ]
        assert_equal({key: info[key] for key in expected}, expected)
        if form != 'refcoco':
            assert ours.get_cat_ids(index) == stock.get_cat_ids(index)
        one, other = (seeded(partial(data.__getitem__, index), 3) for data in (ours, stock))
        assert_equal(one, other)


@pytest.mark.parametrize('test_mode', [True, False])
@pytest.mark.parametrize('form', CONTENT)
def test_samples_equal_those_of_the_stock_dataset(root: Path, form: str, test_mode: bool) -> None:
    """In its order, with degenerate boxes, and whatever ``filter_cfg`` says."""
    keys: dict[str, Any] = dict(pipeline=pipeline(form), test_mode=test_mode)
    with lent():
        stock = stock_dataset(root, form, **keys)
    ours = DeepLakeDataset(
        convert(root, form), return_classes=True, filter_cfg=dict(filter_empty_gt=True), **keys
    )
    assert_samples_equal(ours, stock, form)
    if form == 'dod':
        assert ours.metainfo['classes'] == stock.metainfo['classes']


@pytest.mark.parametrize('text_mode', ['original', 'concat', 'random'])
def test_text_modes_of_ref_coco_dataset(root: Path, text_mode: str) -> None:
    """All texts of an object, with a copy of it for each; one text; one at random."""
    keys: dict[str, Any] = dict(pipeline=pipeline('refcoco'))
    stock = seeded(lambda: stock_dataset(root, 'refcoco', text_mode=text_mode, **keys), 4)
    path = seeded(lambda: convert(root, 'refcoco', text_mode=text_mode), 4)
    assert_samples_equal(DeepLakeDataset(path, **keys), stock, 'refcoco')


def test_images_are_stored_verbatim(root: Path) -> None:
    """Each row stands for itself, with the image that it speaks of."""
    lake = open_lake(convert(root, 'mdetr'), writable=False)
    names = ['b.jpg', 'b.jpg', 'a.jpg']
    assert [lake['file_name'][row] for row in range(3)] == names
    for row, name in enumerate(names):
        assert lake['images'].get_bytes(row) == (root / 'images' / name).read_bytes()


def test_arrays_in_pickles_are_read(root: Path) -> None:
    """D-cube's files hold numbers of NumPy too; code in a pickle is not run."""
    groups = {0: {'inner_sent_id': np.array([3, 1])}, 1: {'inner_sent_id': [np.int64(4), 2, 1]}}
    write_pickles(root, groups=groups)
    info = DeepLakeDataset(convert(root, 'dod')).get_data_info(0)
    assert sorted(info['sent_ids']) == [1, 2, 4] and info['sent_ids'].dtype == np.int64
    write_pickles(root, groups=Path('x'))
    with pytest.raises(ValueError, match=r'groups.pkl must be a pickle of lists, .* it holds pathlib'):
        convert(root, 'dod', overwrite=True)


def change(form: str, place: str, **changes: Any) -> dict[str, Any]:
    """The content of a format with other values at the beginning of a list."""
    content = json.loads(json.dumps(CONTENT[form]))
    content[place][0].update(changes)
    return content


BAD_FILES = {
    'not JSON': ('mdetr', '{', r'mdetr\.json is not a JSON file'),
    'a list': ('mdetr', [], r'mdetr\.json must be an object, got \[\]'),
    'no images': ('mdetr', {'annotations': []}, 'images must be a list of images, got None'),
    'empty': ('mdetr', {'images': [], 'annotations': []}, 'got 0 images'),
    'no annotations': ('flickr30k', {'images': []}, 'annotations must be a list of annotations'),
    'no id': ('mdetr', change('mdetr', 'images', id=None), r'images\[0\] must have an integer or text id'),
    'twice': ('mdetr', change('mdetr', 'images', id=3), 'must have distinct ids'),
    'mixed ids': ('mdetr', change('mdetr', 'images', id='x'), 'all integers or all texts'),
    'no caption': ('mdetr', change('mdetr', 'images', caption=''), "caption must be a text, got ''"),
    'no dataset': ('mdetr', change('mdetr', 'images', dataset_name=None), 'dataset_name must be a text, got None'),
    'size': ('mdetr', change('mdetr', 'images', width=6.5), 'width must be a positive integer of pixels'),
    'box': ('mdetr', change('mdetr', 'annotations', bbox=[1, 2, 3]), r'annotations\[0\]: bbox must be four finite'),
    'category': ('mdetr', change('mdetr', 'annotations', category_id='1'), "category_id must be an integer, got '1'"),
    'no such image': ('mdetr', change('mdetr', 'annotations', image_id=99), 'must have the image_id of one of images'),
    'no file': ('mdetr', change('mdetr', 'images', file_name='c.jpg'), "1 of 3 images are missing|1 of 2 images|missing in .*'c.jpg'"),
    'no spans': ('flickr30k', change('flickr30k', 'images', tokens_positive_eval=None), 'tokens_positive_eval must be a list'),
    'beyond': ('flickr30k', change('flickr30k', 'images', tokens_positive_eval=[[[2, 99]]]), r'must lie in the caption of 22'),
    'phrase id': ('flickr30k', change('flickr30k', 'annotations', phrase_ids=[1]), r'phrase_ids must be the id of a phrase, .* got \[1\]'),
    'mixed phrase ids': ('flickr30k', change('flickr30k', 'annotations', phrase_ids='a'), 'must all be numbers, or all texts'),
    'crowd': ('flickr30k', change('flickr30k', 'annotations', iscrowd='0'), "iscrowd must be 0 or 1, got '0'"),
    'mask': ('refcoco', change('refcoco', 'annotations', segmentation=None), 'the annotation 11 must have a valid segmentation: it has none'),
    'mask size': ('refcoco', change('refcoco', 'annotations', segmentation={'size': [4, 4], 'counts': [16]}), 'valid segmentation: .*4 x 4'),
    'annotation': ('refcoco', change('refcoco', 'annotations', id=99), r'ann_id 11 is not in .*refcoco\.json'),
    'image of it': ('refcoco', change('refcoco', 'annotations', image_id=99), 'image_id 99 is not in images'),
    'sentence': ('dod', change('dod', 'annotations', category_id=9), 'category_id 9 is not in .*sentences.pkl'),
    'described image': ('dod', change('dod', 'annotations', image_id=9), 'image_id 9 is not in .*images.pkl'),
    'described box': ('dod', change('dod', 'annotations', bbox='x'), r"annotations\[0\]: bbox must be four .* got 'x'"),
}


@pytest.mark.parametrize('kind', BAD_FILES)
def test_bad_files(root: Path, kind: str) -> None:
    """Each mistake is named with its place, and nothing is left behind."""
    form, content, text = BAD_FILES[kind]
    shown = content if isinstance(content, str) else json.dumps(content)
    (root / f'{form}.json').write_text(shown)
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        convert(root, form)
    assert [path.name for path in root.parent.iterdir()] == ['data']


BAD_PICKLES: dict[str, tuple[str, dict[str, Any], str]] = {
    'a dict of refs': ('refcoco', dict(refs={}), 'must be a list of expressions, got {}'),
    'ref': ('refcoco', dict(refs=[3]), r'refs.pkl: \[0\] must be an object, got 3'),
    'no split': ('refcoco', dict(refs=[{'ann_id': 3}]), 'split must be the name of a split, got None'),
    'no such split': ('refcoco', dict(refs=REFS[3:4]), "--split must be one that .* has, testA, got 'val'"),
    'no sentences': ('refcoco', dict(refs=[{**REFS[0], 'sentences': []}]), 'must have at least one'),
    'raw': ('refcoco', dict(refs=[{**REFS[0], 'sentences': [{'raw': 3}]}]), r'sentences\[0\]: raw must be a text, got 3'),
    'sentences': ('dod', dict(sentences=[]), r'sentences.pkl must be a dict of objects by id, got \[\]'),
    'ids from 0': ('dod', dict(sentences={0: SENTENCES[1]}), 'must have the ids 1, 2, … in this order'),
    'same text': ('dod', dict(sentences={i: SENTENCES[1] for i in (1, 2)}), 'and distinct texts'),
    'no text': ('dod', dict(sentences={1: {}}), 'sentences.pkl: 1: raw_sent must be a text, got None'),
    'group': ('dod', dict(groups={7: {}}), r'images.pkl: 8: group_id 1 is not in .*groups.pkl'),
    'inner': ('dod', dict(groups={0: {}, 1: {'inner_sent_id': [9]}}), r'inner_sent_id must be ids of sentences.pkl, got \[9\]'),
}


@pytest.mark.parametrize('kind', BAD_PICKLES)
def test_bad_pickles(root: Path, kind: str) -> None:
    """Each mistake is named with its place, and nothing is left behind."""
    form, changes, text = BAD_PICKLES[kind]
    write_pickles(root, **changes)
    with pytest.raises(ValueError, match=text):
        convert(root, form)
    assert [path.name for path in root.parent.iterdir()] == ['data']


def test_options_of_other_formats(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each option belongs to a format; the command line says so too."""
    argv = [str(root / 'mdetr.json'), str(root / 'images'), str(root / 'lake')]
    assert main(['mdetr', *argv]) == 0
    assert 'wrote 3 samples of 2 images, 4 boxes from mdetr.json' in capsys.readouterr().out
    for arguments, text in (
        (['mdtr', *argv], "FORMAT='mdtr' is unknown (did you mean mdetr?)"),
        (['mdetr', *argv], 'already contains a lake; pass --overwrite'),
        (['mdetr', *argv, '--split', 'val'], '--split has no meaning for the format mdetr'),
        (['refcoco', *argv], '--refs must be set for the format refcoco'),
        (['refcoco', *argv, '--refs', 'x', '--split', 'val', '--text-mode', 'all'], "--text-mode='all' is unknown"),
        (['dod', *argv], '--anno-dir must be set for the format dod'),
        (['dod', *argv, '--anno-dir', 'x', '--overwrite'], 'file of descriptions x/sentences.pkl does not exist'),
    ):
        assert main(arguments) == 2
        assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ('text', 'problem'),
    [('[]', r"grounding must be a JSON object, got '\[\]'"), ('{"labels": [1]}', 'labels must be a list with one integer per box')],
)
def test_bad_rows(root: Path, text: str, problem: str) -> None:
    """A row that others wrote is named."""
    path = convert(root, 'mdetr')
    lake = open_lake(path)
    lake['grounding'][0] = text
    lake.commit()
    with pytest.raises(ValueError, match=f'row 0.*{problem}'):
        DeepLakeDataset(path).get_data_info(0)
