"""A sample of the sweep over MMDetection's configs; ``make zoo`` checks all of them."""

from __future__ import annotations

import pytest
from helpers.samples import stock_config

from zoo.catalog import do, stock_names, survey
from zoo.compare import Outcome
from zoo.data import ZooData
from zoo.rewrite import evaluator_on_lake, on_lake

# One of each: wrapper, sampler, kind of dataset and of annotation.
SAMPLE = {
    'two stages': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'repeated, one mosaic': 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'mixed': 'yolox/yolox_tiny_8xb8-300e_coco.py',
    'copied and pasted': 'common/ssj_scp_270k_coco-instance.py',
    'large-scale jitter': 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
    'stuff maps': 'htc/htc_r50_fpn_1x_coco.py',
    'proposals': 'fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py',
    'semi-supervised': 'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
    'open vocabulary': 'glip/glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco.py',
    'Pascal VOC': 'pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py',
    'WIDER Face': 'wider_face/ssd300_8xb32-24e_widerface.py',
    'LVIS': 'lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py',
    'Cityscapes': 'cityscapes/mask-rcnn_r50_fpn_1x_cityscapes.py',
    'CrowdHuman': 'crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py',
    'OpenImages': 'openimages/ssd300_32xb8-36e_openimages.py',
    'detections with texts': 'mm_grounding_dino/lvis/grounding_dino_swin-t_finetune_16xb4_1x_lvis.py',
    'captions and detections': 'mm_grounding_dino/grounding_dino_swin-t_pretrain_obj365_goldg.py',
    'expressions': 'mm_grounding_dino/refcoco/grounding_dino_swin-t_finetune_8xb4_5e_refcoco.py',
    'expressions of any number': 'mm_grounding_dino/refcoco/grounding_dino_swin-t_finetune_8xb4_5e_grefcoco.py',
    'phrases': 'mm_grounding_dino/flickr30k/grounding_dino_swin-t-pretrain_flickr30k.py',
    'descriptions': 'mm_grounding_dino/dod/grounding_dino_swin-t_pretrain_zeroshot_concat_dod.py',
    'base and novel classes': 'mm_grounding_dino/coco/grounding_dino_swin-t_finetune_16xb4_1x_coco_48_17.py',
    'OpenImages challenge': 'openimages/faster-rcnn_r50_fpn_32xb2-cas-1x_openimages-challenge.py',
    'Objects365': 'objects365/retinanet_r50_fpn_1x_objects365v1.py',
    'segments and things': 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
    'panoptic': 'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py',
    'tracks': 'qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py',
    'clips': 'masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py',
    'persons': 'reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py',
}
# Packages that only MMDetection's own classes need.
NEEDS = {
    'LVIS': 'lvis',
    'panoptic': 'panopticapi',
    'segments and things': 'panopticapi',
    'Cityscapes': 'cityscapesscripts',
    'detections with texts': 'lvis',
}


@pytest.fixture(scope='module')
def data(shared_data, tmp_path_factory):
    """Test data as files and lakes."""
    return ZooData(tmp_path_factory.mktemp('zoo'), shared_data / 'coco_cc')


@pytest.mark.parametrize('kind', SAMPLE)
def test_a_config_reads_a_lake_as_it_reads_files(kind, data):
    """Batches of both dataloaders are equal, tensor for tensor."""
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    (entry,), jobs = survey([SAMPLE[kind]], data)
    assert entry.is_whole and not entry.unreadable
    for part in ('train', 'val'):
        assert do(jobs[entry.jobs[part]]) == Outcome('equal'), part


@pytest.mark.parametrize(
    'kind',
    [
        *('stuff maps', 'open vocabulary', 'Pascal VOC', 'segments and things'),
        *('CrowdHuman', 'OpenImages', 'WIDER Face', 'Cityscapes', 'phrases'),
        *('detections with texts', 'expressions', 'expressions of any number'),
        *('descriptions', 'base and novel classes'),
    ],
)
def test_an_evaluator_gives_the_numbers_of_the_stock_one(kind, data):
    """The same predictions are scored alike, against the lake and against the file."""
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    (entry,), jobs = survey([SAMPLE[kind]], data)
    assert do(jobs[entry.jobs['evaluator']]) == Outcome('equal')


def test_a_difference_is_found(data):
    """Lakes of other classes, and a flip more, are no match for the files."""
    (entry,), jobs = survey([SAMPLE['two stages']], data)
    job = jobs[entry.jobs['train']]
    dataset = job.lake['dataset']
    flipped = [dict(step) for step in dataset['pipeline']]
    for step in flipped:
        if step['type'] == 'RandomFlip':
            step['prob'] = 1.0
    changed = {**job.lake, 'dataset': {**dataset, 'pipeline': flipped}}
    outcome = do(type(job)(job.kind, job.files, changed))
    assert outcome.verdict == 'ours' and 'differs' in outcome.reason


def test_rewriting_changes_types_and_paths_alone():
    """Wrappers, pipelines, filters and options of metrics are the stock config's."""
    config = stock_config(SAMPLE['repeated, one mosaic']).to_dict()
    stock = config['train_dataloader']['dataset']
    ours = on_lake(stock, {stock['ann_file']: 'lakes/train'})
    gone = {'ann_file', 'data_root', 'data_prefix'}
    assert ours.pop('deeplake_path') == 'lakes/train'
    assert ours.pop('type') == 'DeepLakeDataset'
    assert ours == {k: v for k, v in stock.items() if k not in {*gone, 'type'}}
    metric = dict(type='CocoMetric', ann_file='a.json', metric='bbox', classwise=True)
    assert evaluator_on_lake([metric]) == [
        dict(type='DeepLakeMetric', metrics_format='COCO', metric='bbox', classwise=True)
    ]


def test_the_sweep_sees_every_config():
    """Hundreds of configs ship, and those to build on are left out."""
    names = stock_names()
    assert len(names) > 700 and set(SAMPLE.values()) <= set(names)
    assert not any('_base_' in name for name in names)
