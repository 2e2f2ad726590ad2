"""Samples from a lake equal those of mmdet's own file datasets, bit for bit."""

from __future__ import annotations

import itertools
import json

import pytest
from helpers.samples import BCCD, assert_equal, handed_over, seeded, stock_config
from mmdet.datasets import CocoDataset, MultiImageMixDataset, XMLDataset
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset

register_all_modules()

FILTERS = {
    'unfiltered': None,
    'no-empty': dict(filter_empty_gt=True),
    'no-empty-min-32': dict(filter_empty_gt=True, min_size=32),
    'min-400': dict(min_size=400),
}
CLASSES = {
    'bccd_train': (BCCD, ('WBC', 'Platelets'), ('WBC',)),
    'bccd_val': (BCCD, ('RBC', 'Platelets'), ('Platelets',)),
    'coco_cc': (None, ('person', 'car', 'dog'), ('dining table',)),
}


def _coco_classes(name: str, classes: tuple | None) -> tuple:
    return classes or CocoDataset.METAINFO['classes']


def _pair(name, lake, coco_files, classes, **kwargs):
    metainfo = dict(classes=_coco_classes(name, classes))
    stock = CocoDataset(**coco_files(name), metainfo=metainfo, **kwargs)
    return DeepLakeDataset(lake(name), metainfo=metainfo, **kwargs), stock


@pytest.mark.parametrize('test_mode', [False, True], ids=['train', 'test'])
@pytest.mark.parametrize('filter_name', FILTERS)
@pytest.mark.parametrize(
    ('name', 'which'), list(itertools.product(CLASSES, range(3))), ids=str
)
def test_every_row_has_the_annotations_of_coco_dataset(
    name, which, filter_name, test_mode, lake, coco_files
):
    """Rows, order, ids, sizes, boxes, labels and flags are CocoDataset's."""
    ours, stock = _pair(
        name,
        lake,
        coco_files,
        CLASSES[name][which],
        filter_cfg=FILTERS[filter_name],
        test_mode=test_mode,
    )
    assert len(ours) == len(stock)
    for index in range(len(stock)):
        found = ours.get_data_info(index)
        found['instances'] = list(found['instances'])
        assert_equal(found, stock.get_data_info(index), f'row {index}')
        assert ours.get_cat_ids(index) == stock.get_cat_ids(index)


@pytest.mark.parametrize('name', CLASSES)
def test_reordered_subset_in_the_order_of_the_lake_is_coco_dataset(
    name, lake, coco_files
):
    """label_order='lake' numbers labels as CocoDataset does for re-ordered classes."""
    classes = _coco_classes(name, CLASSES[name][1])[::-1]
    stock = CocoDataset(**coco_files(name), metainfo=dict(classes=classes))
    ours = DeepLakeDataset(lake(name), metainfo=dict(classes=classes), label_order='lake')
    for index in range(len(stock)):
        assert ours.get_cat_ids(index) == stock.get_cat_ids(index)
    assert ours.metainfo['classes'] == classes[::-1]


@pytest.mark.parametrize('name', CLASSES)
def test_reordered_subset_follows_the_names(name, lake, coco_files, tmp_path):
    """Label i is classes[i], as in a CocoDataset whose file lists them in that order."""
    classes = _coco_classes(name, CLASSES[name][1])[::-1]
    files = coco_files(name)
    content = json.loads(open(files['ann_file']).read())
    content['categories'].sort(
        key=lambda c: classes.index(c['name']) if c['name'] in classes else -1
    )
    (tmp_path / 'reordered.json').write_text(json.dumps(content))
    files = dict(files, ann_file=str(tmp_path / 'reordered.json'))
    stock = CocoDataset(**files, metainfo=dict(classes=classes))
    ours = DeepLakeDataset(lake(name), metainfo=dict(classes=classes))
    for index in range(len(stock)):
        assert ours.get_cat_ids(index) == stock.get_cat_ids(index)
    assert ours.metainfo['classes'] == classes


PIPELINES = {
    'faster-rcnn': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'rtmdet': 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'yolov3': 'yolo/yolov3_d53_8xb8-ms-416-273e_coco.py',
}


@pytest.mark.parametrize('test_mode', [False, True], ids=['train', 'test'])
@pytest.mark.parametrize('model', PIPELINES)
@pytest.mark.parametrize('name', CLASSES)
def test_every_sample_of_a_stock_pipeline_is_that_of_coco_dataset(
    name, model, test_mode, lake, coco_files
):
    """Images, boxes and meta information are equal after the stock pipelines."""
    config = stock_config(PIPELINES[model])
    ours, stock = _pair(
        name,
        lake,
        coco_files,
        CLASSES[name][0],
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=config.test_pipeline if test_mode else config.train_pipeline,
        test_mode=test_mode,
    )
    assert len(ours) == len(stock) > 30
    for index in range(len(stock)):
        # Both pipelines keep state (cached Mosaic), so each goes through all rows.
        assert_equal(
            handed_over(seeded(lambda: ours[index], index)),  # noqa: B023
            seeded(lambda: stock[index], index),  # noqa: B023
            f'row {index}',
        )


@pytest.mark.parametrize('name', ['bccd_val', 'coco_cc'])
def test_every_sample_of_mosaic_and_mixup_is_that_of_coco_dataset(name, lake, coco_files):
    """MultiImageMixDataset with YOLOX's pipeline mixes the same images."""
    config = stock_config('yolox/yolox_tiny_8xb8-300e_coco.py')
    mix = config.train_dataset.pipeline
    load = config.train_dataset.dataset.pipeline
    ours, stock = (
        MultiImageMixDataset(dataset=dataset, pipeline=mix)
        for dataset in _pair(name, lake, coco_files, CLASSES[name][0], pipeline=load)
    )
    for index in range(len(stock)):
        assert_equal(
            handed_over(seeded(lambda: ours[index], index)),  # noqa: B023
            seeded(lambda: stock[index], index),  # noqa: B023
            f'row {index}',
        )


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
@pytest.mark.parametrize('test_mode', [False, True], ids=['train-mode', 'test-mode'])
@pytest.mark.parametrize('classes', [BCCD, ('Platelets', 'RBC'), ('WBC',)], ids=str)
@pytest.mark.parametrize('min_size', [None, 60], ids=['any-size', 'min-60'])
def test_every_row_of_a_voc_import_is_that_of_xml_dataset(
    split, test_mode, classes, min_size, voc_root, voc_lake
):
    """Boxes of any size, difficult flags, ids and class order are XMLDataset's."""
    filter_cfg = dict(filter_empty_gt=True, min_size=32)
    if min_size and not test_mode:
        filter_cfg['bbox_min_size'] = min_size
    options = dict(
        metainfo=dict(classes=classes), filter_cfg=filter_cfg, test_mode=test_mode
    )
    stock = XMLDataset(
        ann_file=str(voc_root / 'ImageSets' / 'Main' / f'{split}.txt'),
        data_prefix=dict(sub_data_root=str(voc_root)),
        **options,
    )
    ours = DeepLakeDataset(voc_lake(split), **options)
    assert len(ours) == len(stock)
    for index in range(len(stock)):
        expected = stock.get_data_info(index)
        expected.pop('xml_path')
        found = ours.get_data_info(index)
        assert found.pop('seg_map_path') is None
        assert_equal(found, expected, f'row {index}')


def test_a_voc_sample_goes_through_the_stock_pipeline_as_from_files(voc_root, voc_lake):
    """A packed sample of a VOC import is equal to XMLDataset's, image and all."""
    config = stock_config('_base_/datasets/voc0712.py')
    options = dict(metainfo=dict(classes=BCCD), pipeline=config.train_pipeline)
    stock = XMLDataset(
        ann_file=str(voc_root / 'ImageSets' / 'Main' / 'val.txt'),
        data_prefix=dict(sub_data_root=str(voc_root)),
        **options,
    )
    ours = DeepLakeDataset(voc_lake('val'), **options)
    for index in range(len(stock)):
        assert_equal(
            handed_over(seeded(lambda: ours[index], index)),  # noqa: B023
            seeded(lambda: stock[index], index),  # noqa: B023
            f'row {index}',
        )


def test_the_text_of_open_vocabulary_models_is_that_of_coco_dataset(lake, coco_files):
    """return_classes and caption_prompt reach the sample as CocoDataset gives them."""
    prompt = {'RBC': dict(prefix='a ', suffix=' cell')}
    ours, stock = _pair(
        'bccd_val',
        lake,
        coco_files,
        BCCD,
        return_classes=True,
        caption_prompt=prompt,
    )
    assert_equal(ours.get_data_info(3), stock.get_data_info(3))


@pytest.mark.parametrize('indices', [5, -3, [4, 0, 7]], ids=str)
def test_indices_and_subsets_choose_the_samples_that_base_dataset_chooses(
    indices, lake, coco_files
):
    """indices= and get_subset take the first, the last or the listed samples."""
    ours, stock = _pair('bccd_val', lake, coco_files, BCCD, indices=indices)
    whole, _ = _pair('bccd_val', lake, coco_files, BCCD)
    subset = whole.get_subset(indices)
    assert len(ours) == len(stock) == len(subset)
    for index in range(len(stock)):
        expected = stock.get_data_info(index)
        assert_equal(ours.get_data_info(index), expected)
        assert_equal(subset.get_data_info(index), expected)
    assert len(whole) == 87, 'get_subset must leave the dataset as it was'


def test_built_from_a_config_it_is_registered(lake):
    """DATASETS builds it, and iteration by index ends with IndexError."""
    dataset = DATASETS.build(dict(type='DeepLakeDataset', deeplake_path=lake('bccd_val')))
    assert sum(1 for _ in dataset) == 87
    with pytest.raises(IndexError):
        dataset[87]
