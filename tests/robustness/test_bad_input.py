"""Mistakes that users make: each error names the key, what was found and the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ROOT
from helpers.lakes import (
    TYPES,
    append,
    box_type,
    branch,
    picture,
    row,
    tag,
    version,
    write_lake,
)
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import DATASETS, HOOKS

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric

register_all_modules()

CONFIGS = ROOT / 'configs'
BARE = {'width': None, 'height': None}
LOAD = [dict(type='LoadImageFromFile')]


@pytest.fixture(scope='module')
def good(tmp_path_factory) -> str:
    """A lake of nine rows with two versions, a tag and a branch."""
    path = write_lake(tmp_path_factory.mktemp('bad') / 'good')
    tag(path, 'SELECT * WHERE image_id > 2', 'late')
    branch(path, 'side', [20])
    append(path, [6, 7, 8])
    return path


def _fails(error: type[Exception], *texts: str) -> Any:
    """Expects an error whose text holds the parts in this order."""
    return pytest.raises(error, match='(?s)' + '.*'.join(map(re.escape, texts)))


# ------------------------------------------------------------------ keys of the config

KEYS: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
    'missing-lake': (
        dict(deeplake_path='no/such/lake'),
        FileNotFoundError,
        ["no/such/lake': no Deep Lake dataset was found there", 'from_coco'],
    ),
    'no-lake-named': (
        dict(deeplake_path=''),
        ValueError,
        [
            'the config must name a lake, got no path: write deeplake_path (a local folder, '
            's3://…, al://org/name)'
        ],
    ),
    'missing-tag': (
        dict(deeplake_view_id='lat'),
        ValueError,
        [
            "deeplake_view_id='lat': ",
            'does not have a saved view (tag) with this name (did you mean late?); tags: '
            'late',
        ],
    ),
    'missing-version': (
        dict(deeplake_commit_id='0000000099v00000000'),
        ValueError,
        [
            "deeplake_commit_id='0000000099v00000000': branch main of ",
            'does not have this version; the newest are 00000',
        ],
    ),
    'version-that-is-none': (
        dict(deeplake_commit_id='yesterday'),
        ValueError,
        ["deeplake_commit_id='yesterday': branch main of ", 'does not have this version'],
    ),
    'missing-branch-or-tag': (
        dict(deeplake_path='{good}@sid'),
        ValueError,
        [
            "@sid': ",
            "does not have a branch or tag 'sid' (did you mean side?); branches: main, "
            'side; tags: late',
        ],
    ),
    'missing-column': (
        dict(deeplake_tensors=dict(gt_bboxes='boxs')),
        ValueError,
        [
            "deeplake_tensors['gt_bboxes']='boxs': the lake has no such column (did you "
            'mean boxes?); columns: images, boxes, categories, image_id, file_name'
        ],
    ),
    'misspelt-role': (
        dict(deeplake_tensors=dict(gt_boxes='boxes')),
        ValueError,
        [
            "deeplake_tensors: unknown role 'gt_boxes' (did you mean gt_bboxes?); the roles "
            'are img, gt_bboxes, gt_labels'
        ],
    ),
    'tensors-no-dict': (
        dict(deeplake_tensors=['images', 'boxes']),
        TypeError,
        ["deeplake_tensors must be a dict, got list; write e.g. {'img': 'images'"],
    ),
    'image-role-none': (
        dict(deeplake_tensors=dict(img=None)),
        ValueError,
        ['deeplake_tensors: img must name a column, got None; write the column with'],
    ),
    'labels-without-boxes': (
        dict(deeplake_tensors=dict(gt_bboxes=None)),
        ValueError,
        [
            'deeplake_tensors: gt_bboxes and gt_labels must both have a column, but '
            'gt_bboxes is None; set both to None for a lake without annotations'
        ],
    ),
    'boxes-without-labels': (
        dict(deeplake_tensors=dict(gt_labels=None)),
        ValueError,
        ['gt_bboxes and gt_labels must both have a column, but gt_labels is None; set'],
    ),
    'column-of-another-kind': (
        dict(deeplake_tensors=dict(gt_ignore_flags='file_name')),
        ValueError,
        ["column 'file_name', row 0: "],
    ),
    'misspelt-key': (
        dict(deeplake_comit_id='x'),
        ValueError,
        [
            "'deeplake_comit_id' is not a key of DeepLakeDataset (did you mean "
            'deeplake_commit_id?); its keys are deeplake_path, dataset'
        ],
    ),
    'class-not-in-the-lake': (
        dict(metainfo=dict(classes=('cat', 'dogs'))),
        ValueError,
        [
            "metainfo.classes holds 'dogs', which is not a class of lake ",
            '(did you mean dog?); its classes are cat, dog, owl',
        ],
    ),
    'class-named-twice': (
        dict(metainfo=dict(classes=('cat', 'dog', 'cat'))),
        ValueError,
        ["metainfo.classes must not name a class twice, got ('cat', 'dog', 'cat')"],
    ),
    'caption-without-text': (
        dict(caption_prompt=dict(cat=dict(prefix='a '))),
        ValueError,
        ['caption_prompt needs return_classes=True, as it changes the text that this'],
    ),
    'classes-no-tuple': (
        dict(metainfo=dict(classes='cat')),
        ValueError,
        ["metainfo.classes must be a tuple of names", "got the string 'cat'; write classes=('cat',)"],
    ),
    'empty-query-result': (
        dict(deeplake_query='SELECT * WHERE image_id > 100'),
        ValueError,
        [
            'deeplake_query must select at least one row, but '
            "'SELECT * WHERE image_id > 100' selects none of the 9 rows of "
        ],
    ),
    'bad-tql': (
        dict(deeplake_query='SELECT * WHER image_id > 100'),
        ValueError,
        [
            "deeplake_query='SELECT * WHER image_id > 100' failed: ",
            'A query must select rows, for example SELECT * WHERE …; columns: images, '
            'boxes',
        ],
    ),
    'query-of-an-unknown-column': (
        dict(deeplake_query='SELECT * WHERE nope = 1'),
        ValueError,
        ["deeplake_query='SELECT * WHERE nope = 1' failed: ", 'columns: images, boxes'],
    ),
    'query-that-groups': (
        dict(deeplake_query='SELECT image_id, COUNT(*) GROUP BY image_id'),
        ValueError,
        [
            'GROUP BY image_id',
            'failed: ',
            'A query must select rows, for example SELECT * WHERE',
        ],
    ),
    'two-froms': (
        dict(
            deeplake_path='', deeplake_query='SELECT * FROM "a" UNION SELECT * FROM "b"'
        ),
        ValueError,
        [
            'deeplake_query must read from one lake, found 2 FROM clauses; write one '
            'DeepLakeDataset per lake and join them with ConcatDataset'
        ],
    ),
    'from-and-path': (
        dict(deeplake_query='SELECT * FROM "/other" WHERE image_id > 1'),
        ValueError,
        [
            "deeplake_query reads FROM '/other', but deeplake_path is ",
            'keep one of the two',
        ],
    ),
    'commit-and-view': (
        dict(deeplake_commit_id='{newest}', deeplake_view_id='late'),
        ValueError,
        [
            'deeplake_commit_id and the saved view must be of the same version, got ',
            "and the view 'late' of version ",
            '; remove one of the two',
        ],
    ),
    'suffix-and-view': (
        dict(deeplake_path='{good}@side', deeplake_view_id='late'),
        ValueError,
        [
            "deeplake_path ends in @side and deeplake_view_id is 'late'; keep one of the "
            'two'
        ],
    ),
    'username': (
        dict(deeplake_credentials=dict(username='me', password='secret')),
        ValueError,
        [
            'deeplake_credentials.username is not supported: Deep Lake 4 does not log in '
            'with user name and password; create a token on its web site and write '
            "token='env:ACTIVELOOP_TOKEN'"
        ],
    ),
    'unknown-credential': (
        dict(deeplake_credentials=dict(tokn='env:X')),
        ValueError,
        [
            'deeplake_credentials.tokn is unknown (did you mean token?); the keys are: '
            'token, creds'
        ],
    ),
    'unknown-creds-key': (
        dict(deeplake_credentials=dict(creds=dict(aws_secret_key='env:X'))),
        ValueError,
        [
            'deeplake_credentials.creds.aws_secret_key is unknown (did you mean '
            'aws_secret_access_key?); the keys are: aws_access_key_id'
        ],
    ),
    'unset-variable': (
        dict(deeplake_credentials=dict(token='env:NO_SUCH_VARIABLE')),
        ValueError,
        [
            "deeplake_credentials.token='env:NO_SUCH_VARIABLE': the environment variable "
            'NO_SUCH_VARIABLE is not set; export it in the shell that starts the training'
        ],
    ),
    'path-object': (
        dict(deeplake_path=Path('/some/lake')),
        TypeError,
        [
            "deeplake_path must be a string, got PosixPath('/some/lake') (PosixPath); "
            "write '/some/lake'"
        ],
    ),
    'ann-file': (
        dict(ann_file='annotations/instances_train2017.json'),
        ValueError,
        [
            "ann_file='annotations/instances_train2017.json' has no meaning for "
            'DeepLakeDataset, which reads images and annotations from the lake. If the '
            'key comes from the base config, begin the dict with _delete_=True'
        ],
    ),
    'data-prefix': (
        dict(data_prefix=dict(img='train2017/')),
        ValueError,
        ["data_prefix={'img': 'train2017/'} has no meaning", '_delete_=True'],
    ),
    'unknown-filter': (
        dict(filter_cfg=dict(filter_empty=True)),
        ValueError,
        [
            'filter_cfg.filter_empty is unknown (did you mean filter_empty_gt?); the keys '
            'are filter_empty_gt, min_size, bbox_min_size'
        ],
    ),
    'small-boxes-in-a-test': (
        dict(filter_cfg=dict(bbox_min_size=8), test_mode=True, annotation_style='voc'),
        ValueError,
        [
            'filter_cfg.bbox_min_size must not be set with test_mode=True: it marks small '
            'boxes as ignored, which would change the ground truth; leave it out'
        ],
    ),
    'unknown-style': (
        dict(annotation_style='COCO'),
        ValueError,
        ["annotation_style='COCO' is unknown", '; write coco (drops degenerate boxes'],
    ),
    'unknown-label-order': (
        dict(label_order='lakes'),
        ValueError,
        ["label_order='lakes' is unknown (did you mean lake?); write 'classes' or 'lake'"],
    ),
    'unknown-box-format': (
        dict(box_format='ltwh'),
        ValueError,
        [
            'box_format must be one of xyxy, xywh, cxcywh, xyxyn, xywhn, cxcywhn',
            "got 'ltwh'",
        ],
    ),
    'object-that-is-no-lake': (
        dict(deeplake_path='', dataset=['rows']),
        TypeError,
        [
            'dataset= must be an open Deep Lake dataset or view, got a list; pass one, or '
            'use deeplake_path instead'
        ],
    ),
    'object-and-path': (
        dict(dataset=['rows']),
        ValueError,
        [
            'dataset= is an open lake, so deeplake_path',
            'must be left out',
        ],
    ),
}


@pytest.mark.parametrize(('keys', 'error', 'texts'), KEYS.values(), ids=KEYS)
def test_a_wrong_key_is_named_with_its_remedy(keys, error, texts, good):
    """Each mistake in the config fails when the dataset is built, in these words."""

    def filled(value: Any) -> Any:
        if not isinstance(value, str) or '{' not in value:
            return value
        return value.format(good=good, newest=version(good))

    keys = {key: filled(value) for key, value in {'deeplake_path': good, **keys}.items()}
    with _fails(error, *texts):
        DeepLakeDataset(**keys)


# ------------------------------------------------------------------ what lakes may hold


def _changed(**values: Any) -> list[dict[str, Any]]:
    """Three plain rows, the second of which is changed."""
    return [row(0), {**row(1), **values}, row(2)]


def _with_value(column: str, index: tuple[int, ...], value: float) -> dict[str, Any]:
    array = np.array(row(1)[column], dtype=np.float64 if column == 'boxes' else np.int32)
    array[index] = value
    return {column: array}


LAKES: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
    'two-image-columns': (
        dict(
            rows=[{**row(0), 'thumbnails': picture(1)}],
            columns={'thumbnails': TYPES['image']},
        ),
        ValueError,
        [
            "deeplake_tensors['img'] is not set and 2 columns match: images, thumbnails; "
            'write one of them. Columns: images (kind=image',
        ],
    ),
    'two-box-columns': (
        dict(
            rows=[{**row(0), 'old_boxes': row(0)['boxes']}],
            columns={'old_boxes': box_type('ltwh', 'pixel')},
        ),
        ValueError,
        [
            "deeplake_tensors['gt_bboxes'] is not set and 2 columns match: boxes, "
            'old_boxes; write one of them. Columns: '
        ],
    ),
    'two-label-columns': (
        dict(
            rows=[{**row(0), 'colours': np.array([1], np.int32)}],
            columns={'colours': TYPES['labels']},
        ),
        ValueError,
        [
            "deeplake_tensors['gt_labels'] is not set and 2 columns match: categories, "
            'colours; write one of them. Columns: '
        ],
    ),
    'no-image-column': (
        dict(columns={'images': None}),
        ValueError,
        [
            "deeplake_tensors['img'] is not set and no column is declared to hold "
            'encoded images, one per row; write the name of the column. Columns: boxes (k'
        ],
    ),
    'no-box-column': (
        dict(columns={'boxes': TYPES['table']}),
        ValueError,
        [
            "deeplake_tensors['gt_bboxes'] is not set and no column is declared to hold "
            'boxes of shape (N, 4); write the name of the column. Columns: '
        ],
    ),
    'no-label-column': (
        dict(columns={'categories': TYPES['ints']}, class_names=None),
        ValueError,
        [
            "deeplake_tensors['gt_labels'] is not set and no column is declared to hold "
            'class labels of shape (N,), or a list of their names; write the name of the '
            'column. Columns: '
        ],
    ),
    'undeclared-boxes': (
        dict(columns={'boxes': box_type(None, None)}),
        ValueError,
        [
            "the box convention of column 'boxes' (",
            'is not declared in the lake; write box_format= xyxy, xywh or cxcywh for pix',
        ],
    ),
    'five-numbers-a-box': (
        dict(rows=_changed(boxes=np.ones((2, 5)), categories=np.array([0, 1], np.int32))),
        ValueError,
        [
            "column 'boxes', row 1: boxes must have the shape (N, 4), got (2, 5); write "
            'four numbers per box'
        ],
    ),
    'more-labels-than-boxes': (
        dict(rows=_changed(categories=np.array([0, 1], np.int32))),
        ValueError,
        [
            "column 'categories', row 1: there must be one value per box, found 2 values "
            "for 1 boxes in column 'boxes'; correct the row"
        ],
    ),
    'no-labels-for-boxes': (
        dict(rows=_changed(categories=np.array([], np.int32))),
        ValueError,
        ["column 'categories', row 1: ", "found 0 values for 1 boxes in column 'boxes'"],
    ),
    'label-outside': (
        dict(rows=_changed(**_with_value('categories', (0,), 3))),
        ValueError,
        [
            "column 'categories', row 1: labels must be 0 to 2 (the column has 3 "
            'class_names), got 3; correct the label, or the metadata class_names of the '
            'column'
        ],
    ),
    'negative-label': (
        dict(rows=_changed(**_with_value('categories', (0,), -1))),
        ValueError,
        ["column 'categories', row 1: labels must be 0 to 2 (", '), got -1; correct'],
    ),
    'no-class-names': (
        dict(class_names=None),
        ValueError,
        [
            "has no class names (metadata class_names of column 'categories'); write "
            "metainfo=dict(classes=('name of label 0', …))"
        ],
    ),
    'class-names-repeated': (
        dict(class_names=('cat', 'dog', 'cat')),
        ValueError,
        [
            "class_names of column 'categories' must be unique, found more than once: "
            'cat; rename or merge these classes'
        ],
    ),
    'not-a-number-in-a-box': (
        dict(rows=_changed(**_with_value('boxes', (0, 2), np.nan))),
        ValueError,
        [
            "column 'boxes', row 1: a box must be four finite numbers, got [1.0, 2.0, "
            'nan, 12.0]; correct the box, or remove it'
        ],
    ),
    'infinite-box': (
        dict(rows=_changed(**_with_value('boxes', (0, 0), np.inf))),
        ValueError,
        ["column 'boxes', row 1: a box must be four finite", 'got [inf, 2.0, 10.0, 12.0]'],
    ),
    'style-in-the-lake': (
        dict(metadata={'annotation_style': 'voc2007'}),
        ValueError,
        ["annotation_style='voc2007' is unknown", 'write coco'],
    ),
    'junk-without-sizes': (
        dict(rows=_changed(images=b'this is no image'), columns=BARE),
        ValueError,
        [
            "column 'images', row 1: ",
            'not an image',
            'correct or delete the row, or leave it out with deeplake_query',
        ],
    ),
    'no-bytes-without-sizes': (
        dict(rows=_changed(images=b''), columns=BARE),
        ValueError,
        ["column 'images', row 1: ", 'no image', 'correct or delete the row'],
    ),
    'null-image-id': (
        dict(rows=_changed(image_id=None), columns={'image_id': TYPES['int or null']}),
        ValueError,
        ["column 'image_id', row 1: "],
    ),
    'null-width': (
        dict(rows=_changed(width=None), columns={'width': TYPES['int or null']}),
        ValueError,
        ["column 'width', row 1: "],
    ),
}


@pytest.mark.parametrize(('lake', 'error', 'texts'), LAKES.values(), ids=LAKES)
def test_a_lake_that_does_not_fit_is_told_by_column_and_row(lake, error, texts, tmp_path):
    """Each defect of a lake fails when the dataset is built, naming where it is."""
    path = write_lake(tmp_path / 'lake', **lake)
    with _fails(error, *texts):
        DeepLakeDataset(path)


def test_labels_without_names_may_not_exceed_the_classes_of_the_config(tmp_path):
    """Where the config gives the names, a label beyond them is an error too."""
    rows = _changed(**_with_value('categories', (0,), 2))
    path = write_lake(tmp_path / 'lake', rows, class_names=None)
    with _fails(ValueError, 'row 1: labels must be 0 to 1 (', '2 class_names), got 2'):
        DeepLakeDataset(path, metainfo=dict(classes=('a', 'b')))


# -------------------------------------------------------------------- while it is read


def test_an_index_beyond_the_end_is_an_index_error(good):
    """The protocol by which browse_dataset stops."""
    dataset = DeepLakeDataset(good)
    for index in (9, -10):
        with pytest.raises(IndexError):
            dataset.get_data_info(index)


def test_lazy_init_finds_defects_of_the_config_at_once_and_of_the_data_later(tmp_path):
    """lazy_init puts off opening the lake."""
    path = write_lake(tmp_path / 'lake', _changed(**_with_value('categories', (0,), 9)))
    dataset = DeepLakeDataset(path, lazy_init=True)
    with _fails(ValueError, 'row 1: labels must be 0 to 2 (', 'got 9'):
        dataset.full_init()
    dataset = DeepLakeDataset(path, lazy_init=True, deeplake_tensors=dict(img='x'))
    with _fails(ValueError, 'has no such column'):
        len(dataset)
    with _fails(ValueError, 'the config must name a lake, got no path'):
        DeepLakeDataset(lazy_init=True)
    with _fails(ValueError, "label_order='lakes' is unknown"):
        DeepLakeDataset(path, lazy_init=True, label_order='lakes')


# -------------------------------------------------------------------------- the metric

METRICS: dict[str, tuple[dict[str, Any], list[str]]] = {
    'unknown-format': (
        dict(metrics_format='Coco'),
        [
            '`metrics_format` must be one of COCO, LVIS, PascalVOC, Panoptic, SemSeg, '
            'CrowdHuman, OpenImages, Cityscapes, CocoOccludedSeparated, LVISFixedAP, OVCoco, '
            "RefExp, gRefCOCO, Flickr30k, DOD, MOT, YouTubeVIS, CocoVideo, ReID, got 'Coco'"
        ],
    ),
    'unknown-metric': (
        dict(metric='bboxes'),
        [
            "`metric` of metrics_format='COCO' must be one or more of bbox, segm, proposal, "
            "proposal_fast, got 'bboxes' (did you mean bbox?)"
        ],
    ),
    'metric-of-the-other-format': (
        dict(metrics_format='PascalVOC', metric='bbox'),
        [
            "`metric` of metrics_format='PascalVOC' must be one of mAP, recall, got ",
            "'bbox'",
        ],
    ),
    'two-voc-metrics': (
        dict(metrics_format='PascalVOC', metric=['mAP', 'recall']),
        ["must be one of mAP, recall, got ['mAP', 'recall']"],
    ),
    'no-metric': (dict(metric=[]), ['must be one or more of bbox, segm, ', 'got []']),
    'voc-option-for-coco': (
        dict(eval_mode='area'),
        ["eval_mode='area' has no meaning for metrics_format='COCO'; leave it out"],
    ),
    'coco-option-for-voc': (
        dict(metrics_format='PascalVOC', classwise=True),
        ["classwise=True has no meaning for metrics_format='PascalVOC'; leave it out"],
    ),
    'results-go-nowhere': (
        dict(format_only=True),
        [
            'format_only=True only writes the results, which needs outfile_prefix, but it '
            'is not set; set outfile_prefix to the path prefix of the JSON files'
        ],
    ),
}


@pytest.mark.parametrize(('keys', 'texts'), METRICS.values(), ids=METRICS)
def test_a_wrong_key_of_the_metric_is_named_with_its_remedy(keys, texts):
    """Each mistake fails when the metric is built, before any training."""
    with _fails(ValueError, *texts):
        DeepLakeMetric(**keys)


def _predicted(path: str | None, label: int = 0) -> dict[str, Any]:
    found = dict(
        bboxes=torch.tensor([[1.0, 2.0, 11.0, 14.0]]),
        scores=torch.tensor([0.9]),
        labels=torch.tensor([label]),
    )
    return {**({'img_path': path} if path else {}), 'pred_instances': found}


def _scores(dataset: DeepLakeDataset, samples: list[dict]) -> Callable[[], dict]:
    metric = DeepLakeMetric()
    metric.dataset_meta = dataset.metainfo
    metric.process({}, samples)
    return lambda: metric.evaluate(size=len(samples))


def test_a_prediction_without_img_path_is_told(good):
    """A pipeline that drops img_path from meta_keys is named as the cause."""
    text = 'keep img_path in the meta_keys of PackDetInputs'
    with _fails(KeyError, "a prediction has no 'img_path'", text):
        DeepLakeMetric().process({}, [_predicted(None)])


def test_a_lake_that_is_not_open_is_told(good):
    """Predictions on a lake that this process has not opened: which are open, and why."""
    dataset = DeepLakeDataset(good)
    path = 'deeplake://0123456789abcdef/0/a.jpg'
    with _fails(
        KeyError,
        'the lake with the key 0123456789abcdef is not open in this process (open lakes: ',
        'Build its DeepLakeDataset first',
        'open the lake, the version (deeplake_commit_id) and the columns that they were ',
    ):
        _scores(dataset, [_predicted(path)])()


def test_a_path_that_is_no_lake_image_is_told(good):
    """Predictions that were made on files are told from those on a lake."""
    text = 'the path of a lake image must look like deeplake://<key>/<row>/<name>, got '
    with _fails(ValueError, text + "'data/a.jpg'; use the img_path of a DeepLakeDataset"):
        _scores(DeepLakeDataset(good), [_predicted('data/a.jpg')])()


def test_repeated_image_ids_in_an_evaluation_are_told(tmp_path):
    """Rows with the same id cannot be scored: which, and what to write."""
    path = write_lake(tmp_path / 'lake', _changed(image_id=2))
    dataset = DeepLakeDataset(path)
    samples = [_predicted(dataset.get_data_info(i)['img_path']) for i in range(3)]
    with _fails(
        ValueError,
        'image ids must be unique, but rows 1 and 2 both have 2; '
        "write deeplake_tensors={'img_id': None} to use row numbers",
    ):
        _scores(dataset, samples)()
    numbered = DeepLakeDataset(path, deeplake_tensors=dict(img_id=None))
    samples = [_predicted(numbered.get_data_info(i)['img_path']) for i in range(3)]
    assert _scores(numbered, samples)()['coco/bbox_mAP'] > 0


def test_a_predicted_label_beyond_the_classes_is_told(good):
    """num_classes of the model against the lake's, told by the metric."""
    dataset = DeepLakeDataset(good)
    path = dataset.get_data_info(0)['img_path']
    with _fails(
        ValueError,
        'the model predicts label 79, but the dataset has 3 classes',
        "num_classes=3 in the model's head(s)",
    ):
        _scores(dataset, [_predicted(path, label=79)])()


def test_the_base_config_tells_a_num_classes_mismatch_before_training(good):
    """The stock NumClassCheckHook of the base config names both numbers and the dataset."""
    config = Config.fromfile(CONFIGS / '_base_' / 'datasets' / 'deeplake_detection.py')
    keys = {**config.train_dataloader.dataset, 'deeplake_path': good, 'pipeline': []}
    dataset = DATASETS.build(keys)
    hook_config = config.custom_hooks[0]
    hook = HOOKS.build(hook_config)
    head = torch.nn.Module()
    head.num_classes = 80
    with pytest.raises(
        AssertionError, match=r'`num_classes` \(80\).*`classes` 3\) in DeepLakeDataset'
    ):
        hook.before_train_epoch(_runner(dataset, head))
    head.num_classes = 3
    hook.before_train_epoch(_runner(dataset, head))


def _runner(dataset: Any, head: torch.nn.Module) -> Any:
    return SimpleNamespace(
        model=torch.nn.Sequential(head),
        train_dataloader=SimpleNamespace(dataset=dataset),
    )
