"""Old configs that tools.migrate carried over train with the stock ``tools/train.py``."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from helpers.lakes import tag
from helpers.object_store import ObjectStore
from helpers.old_configs import (
    GUIDE,
    INSTANCES,
    QUERY,
    QUERY_BASE,
    S3,
    VIEW,
    VOC,
    write_old,
)
from stock_tools import iterations, training_log, validations

from mmdet_deeplake_plugin.tools.migrate import migrate

SMALL = [
    'model.backbone.init_cfg=None',  # it would be downloaded
    'load_from=None',
    'default_hooks.logger.interval=1',
]
# Two stages with less to compute than the base has.
FEW = [
    'model.backbone.depth=18',
    'model.neck.in_channels=[64,128,256,512]',
    'model.train_cfg.rpn_proposal.max_per_img=50',
    'model.train_cfg.rcnn.sampler.num=32',
    'model.test_cfg.rpn.max_per_img=20',
]
TRAIN, VAL = 'train_dataloader.dataset.indices=4', 'val_dataloader.dataset.indices=2'


@pytest.fixture()
def train(run_tool, tmp_path):
    """Migrates an old config, trains with the new one, and returns what was logged."""

    def run(old: Path, *options: str, **variables: str) -> list[dict]:
        new = tmp_path / 'new.py'
        migrate(old, new)
        work_dir = tmp_path / 'work'
        options = [*SMALL, *options]
        run_tool('train.py', new, '--work-dir', work_dir, options=options, **variables)
        log = training_log(work_dir)
        losses = [entry['loss'] for entry in iterations(log)]
        assert losses and all(map(math.isfinite, losses))
        return log

    return run


def test_the_guide_trains(train, lake, tmp_path):
    """YOLOv3 of Deep Lake's own guide, with the token from the environment."""
    lakes = dict(TRAIN=lake('bccd_train'), VAL=lake('bccd_val'))
    log = train(
        write_old(tmp_path / 'old.py', GUIDE, **lakes),
        *('model.bbox_head.num_classes=3', TRAIN, VAL),
        *('train_dataloader.num_workers=0', 'val_dataloader.num_workers=0'),
        *('train_dataloader.persistent_workers=False',),
        *('val_dataloader.persistent_workers=False',),
        *('train_dataloader.batch_size=2', 'train_cfg.max_epochs=1'),
        'train_cfg.val_interval=1',
        ACTIVELOOP_TOKEN='token',
    )
    assert len(iterations(log)) == 2
    assert 'coco/bbox_mAP' in validations(log)[0]


def test_a_view_and_a_whole_model_train(train, lake, tmp_path):
    """Iterations instead of epochs, rows of a saved view, the base by the type."""
    path = tmp_path / 'lake'
    path.symlink_to(lake('bccd_train'))
    tag(str(path), 'SELECT * LIMIT 4', 'clean')
    lakes = dict(TRAIN=path, VAL=lake('bccd_val'))
    log = train(write_old(tmp_path / 'old.py', VIEW, **lakes), VAL)
    assert len(iterations(log)) == 2
    assert 'coco/bbox_mAP' in validations(log)[0]


def test_a_query_and_a_base_of_the_user_train(train, lake, tmp_path):
    """The rows of the query, repeated; the AP of each class."""
    lakes = dict(TRAIN=lake('bccd_train'), VAL=lake('bccd_val'))
    write_old(tmp_path / 'lake_base.py', QUERY_BASE, **lakes)
    log = train(write_old(tmp_path / 'old.py', QUERY))
    assert len(iterations(log)) == 2
    assert 'coco/RBC_precision' in validations(log)[0]


def test_pascal_voc_trains(train, voc_lake, tmp_path):
    """The score of Pascal VOC chooses the best checkpoint."""
    lakes = dict(TRAIN=voc_lake('train'), VAL=voc_lake('test'))
    log = train(write_old(tmp_path / 'old.py', VOC, **lakes), *FEW, TRAIN, VAL)
    assert len(iterations(log)) == 2
    assert 'pascal_voc/AP40' in validations(log)[0]
    assert list((tmp_path / 'work').glob('best_pascal_voc_mAP_epoch_1.pth'))


def test_masks_train(train, lake, tmp_path):
    """Masks are loaded and scored, although the old pipeline loads nothing itself."""
    lakes = dict(TRAIN=lake('coco_cc'), VAL=lake('coco_cc'))
    log = train(write_old(tmp_path / 'old.py', INSTANCES, **lakes), *FEW, TRAIN, VAL)
    assert all('loss_mask' in entry for entry in iterations(log))
    assert 'coco/segm_mAP' in validations(log)[0]


def test_s3_without_validation_trains(train, lake, tmp_path):
    """Keys come from the environment under the names that the report says."""
    with ObjectStore.start(tmp_path) as store:
        url = store.upload(lake('bccd_val'), 'lake')
        old = write_old(tmp_path / 'old.py', S3, TRAIN=url, ENDPOINT=store.endpoint)
        variables = dict(
            LAKE_KEY_ID=store.key.id, AWS_SECRET_ACCESS_KEY=store.key.secret
        )
        log = train(old, TRAIN, **variables)
    assert len(iterations(log)) == 2
    assert not validations(log)
