"""Stock ``train.py`` to its end, on a lake as on files, digit for digit.

The configs are those that ship with MMDetection, with small images, small backbones and
untrained weights; between the two runs, types of datasets and metrics differ alone.
``test_training_parity.py`` does the same with RTMDet.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers.samples import stock_config
from helpers.tiny_bert import with_own_encoder
from mmdet.utils import register_all_modules
from mmengine.config import Config
from stock_tools import iterations, training_log, validations
from zoo.catalog import LOADERS
from zoo.compare import smaller
from zoo.data import ZooData
from zoo.rewrite import (
    evaluator_on_files,
    evaluator_on_lake,
    leaves,
    on_files,
    on_lake,
)
from zoo.small_run import small, with_resnet18

register_all_modules()

EPOCHS = 4


class Model(NamedTuple):
    """A stock config, and what makes it small.

    Attributes:
        config: Path below MMDetection's configs.
        metric: A number that is not 0 after the training.
        options: For ``--cfg-options``: a few images, and thresholds so low that something
            is found.
        needs: Packages that stock's model and metric need.
    """

    config: str
    metric: str
    options: str
    needs: tuple[str, ...] = ()


MODELS = {
    'Grounding DINO': Model(
        'mm_grounding_dino/grounding_dino_swin-t_pretrain_obj365.py',
        'coco/AR@1000',
        """
        train_dataloader.dataset.datasets.0.indices=4 optim_wrapper.optimizer.lr=0.0001
        model.encoder.num_layers=2 model.decoder.num_layers=2
        model.num_queries=80 model.test_cfg.max_per_img=1000
        val_evaluator.metric=bbox,proposal
        """,
        ('transformers',),
    ),
    'OpenImages': Model(
        'openimages/faster-rcnn_r50_fpn_32xb2-1x_openimages.py',
        'openimages/AP50',
        """
        train_dataloader.dataset.indices=2 optim_wrapper.optimizer.lr=0.001
        train_cfg.max_epochs=8 train_cfg.val_interval=8
        val_dataloader.dataset.indices=2
        model.test_cfg.rcnn.score_thr=0 model.test_cfg.rcnn.max_per_img=1000
        """,
    ),
    'CrowdDet': Model(
        'crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py',
        'crowd_human/mAP',
        """
        train_dataloader.dataset.indices=4 val_dataloader.dataset.indices=4
        model.test_cfg.rcnn.score_thr=0
        """,
    ),
    # With YOLOX-tiny; half of the epochs without mosaic; InterpolateTracklets needs sklearn.
    'ByteTrack': Model(
        'bytetrack/bytetrack_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_test-mot17halfval.py',
        'motchallenge-metric/HOTA',
        """
        train_dataloader.dataset.dataset.indices=6 val_dataloader.dataset.indices=1
        model.detector.backbone.deepen_factor=0.33 model.detector.backbone.widen_factor=0.375
        model.detector.neck.in_channels=96,192,384 model.detector.neck.out_channels=96
        model.detector.neck.num_csp_blocks=1
        model.detector.bbox_head.in_channels=96 model.detector.bbox_head.feat_channels=96
        model.detector.test_cfg.score_thr=0 model.tracker.init_track_thr=0
        model.tracker.obj_score_thrs.high=0 model.tracker.obj_score_thrs.low=0
        custom_hooks.0.num_last_epochs=1 val_evaluator.postprocess_tracklet_cfg=[]
        """,
        ('lap', 'trackeval'),
    ),
    # Images are enlarged: no anchor is as small as an object.
    'MaskTrack R-CNN': Model(
        'masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py',
        'youtube_vis/segm_mAP_50',
        """
        train_dataloader.dataset.indices=[1] val_dataloader.dataset.indices=[1]
        train_dataloader.batch_size=1
        train_dataloader.dataset.pipeline.1.transforms.2.scale=(192,128)
        val_dataloader.dataset.pipeline.0.transforms.1.scale=(192,128)
        model.detector.test_cfg.rcnn.score_thr=0
        model.detector.test_cfg.rcnn.mask_thr_binary=0.1
        """,
    ),
}


@pytest.fixture(scope='module')
def data(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> ZooData:
    """Test data as files and lakes."""
    return ZooData(tmp_path_factory.mktemp('zoo'), shared_data / 'coco_cc')


@pytest.mark.parametrize('kind', MODELS)
def test_losses_and_numbers_are_those_of_files(
    kind: str, data: ZooData, run_tool: Any, tmp_path: Path
) -> None:
    """All that is logged: each loss of each iteration, and each number of the metric."""
    model = MODELS[kind]
    for package in model.needs:
        pytest.importorskip(package, reason=f'stock {kind} needs {package}')
    config = stock_config(model.config).to_dict()
    if 'transformers' in model.needs:
        with_own_encoder(config, tmp_path / 'bert')
    logs = []
    for name, values in zip(('files', 'lake'), _pair(config, data, tmp_path)):
        Config(values).dump(tmp_path / f'{name}.py')
        run_tool(
            'train.py',
            tmp_path / f'{name}.py',
            *('--work-dir', tmp_path / name),
            options=model.options.split(),
            PYTHONHASHSEED='0',  # RandomSamplingNegPos goes through a set of strings
        )
        logs.append(training_log(tmp_path / name))
    files, lake = logs
    losses = [entry['loss'] for entry in iterations(files)]
    assert len(set(losses)) == len(losses) >= EPOCHS
    assert all(map(math.isfinite, losses))
    (numbers,) = validations(files)
    assert numbers[model.metric] > 0
    assert lake == files


def _pair(config: dict[str, Any], data: ZooData, folder: Path) -> tuple[Any, Any]:
    """The config on files and on lakes, small and with all that it logs."""
    files = {**config, 'model': with_resnet18(config['model'])}
    for part in LOADERS:
        loader = smaller(files[f'{part}_dataloader'])
        loader['dataset'] = on_files(loader['dataset'], data)
        files[f'{part}_dataloader'] = loader
    files['val_dataloader']['batch_size'] = 1  # as trackers want
    files['val_evaluator'] = evaluator_on_files(
        files['val_evaluator'], files['val_dataloader']['dataset']
    )
    mixed = files['train_dataloader']['dataset']
    if mixed['type'] == 'MultiImageMixDataset':  # ByteTrack: frames as images
        tracks = data.files('tracks', ())
        prefix = dict(img=tracks['data_prefix']['img_path'])
        mixed['dataset'] = {**leaves(mixed)[0], **tracks, 'data_prefix': prefix}
    files = {
        **small(files, folder),
        'train_cfg': dict(
            type='EpochBasedTrainLoop', max_epochs=EPOCHS, val_interval=EPOCHS
        ),
        'optim_wrapper': dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=0.0003, weight_decay=0.0001),
            clip_grad=dict(max_norm=35),  # its norm is logged
        ),
        'default_hooks': dict(
            checkpoint=None, logger=dict(type='LoggerHook', interval=1)
        ),
        'visualizer': dict(
            type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]
        ),
        'log_processor': dict(window_size=1),
        'randomness': dict(seed=0, deterministic=True),
    }
    lake = {
        **copy.deepcopy(files),
        'custom_imports': dict(imports=['mmdet_deeplake_plugin']),
    }
    for part in LOADERS:
        dataset = on_lake(lake[f'{part}_dataloader']['dataset'], data.lakes)
        if dataset['type'] == 'MultiImageMixDataset':
            dataset['type'] = 'DeepLakeMultiImageMixDataset'
        assert all(leaf['type'].startswith('DeepLake') for leaf in leaves(dataset))
        lake[f'{part}_dataloader']['dataset'] = dataset
    lake['val_evaluator'] = evaluator_on_lake(files['val_evaluator'])
    # YouTubeVISMetric uses np.float, which NumPy has no more.
    files['custom_imports'] = dict(imports=['lends_numpy'])
    return files, lake
