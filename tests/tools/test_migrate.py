"""tools.migrate says what of an old config it carries over, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.old_configs import BOXES, GUIDE, S3, VIEW, write_old
from helpers.samples import STOCK_CONFIGS
from mmengine.config import Config

from mmdet_deeplake_plugin.tools.migrate import main, migrate
from mmdet_deeplake_plugin.tools.migration.bases import BY_TYPE

YOLO = "_base_ = 'configs/yolo/yolov3_d53_mstrain-416_273e_coco.py'\n"
DATA = "data = dict(train=dict(deeplake_path='lake', {}))\n"


class Migrated:
    """A migrated config: its text, the report and what MMEngine reads."""

    def __init__(self, folder: Path, text: str, base: str | None = None) -> None:
        new = folder / 'new.py'
        old = write_old(folder / 'old.py', text, TRAIN='lake', VAL='val', ENDPOINT='e')
        self.report = migrate(old, new, base, force=True)
        self.text = new.read_text()
        self.config = Config.fromfile(new)


def pipeline_of(*steps: str) -> str:
    """A config with a training pipeline of these steps."""
    return YOLO + DATA.format(f'pipeline=[{", ".join(steps)}]')


@pytest.mark.parametrize('kind', BY_TYPE)
def test_bases_by_type_are_models_of_that_type(kind):
    """Each exists in MMDetection 3 and has the type for which it stands."""
    config = Config.fromfile(STOCK_CONFIGS / BY_TYPE[kind])
    assert config.model.type == kind


@pytest.mark.parametrize('text', [GUIDE, S3, VIEW], ids=['guide', 's3', 'view'])
def test_no_secret_is_copied(text, tmp_path):
    """Neither the file nor the report has a literal token or key."""
    found = Migrated(tmp_path, text)
    for secret in ('the-secret-token', 'the-secret-key'):
        assert secret not in found.text + found.report


SECRET = 'SECRET_0123456789_' * 5
HIDDEN = {
    'a call': f"deeplake_path=open_lake('hub://a/b', token={SECRET!r})",
    'a format': f"deeplake_path='lake', deeplake_credentials=dict(token=f'{SECRET}{{x}}')",
    'a method': f"deeplake_path='lake', deeplake_credentials=dict(token={SECRET!r}.strip())",
    'a key': f"deeplake_path='lake', deeplake_tensors={{load({SECRET!r}): 'images'}}",
    'nested': f"deeplake_path='lake', password=dict(a=dict(b={SECRET!r}))",
}


@pytest.mark.parametrize('how', HIDDEN)
def test_no_secret_of_an_expression_is_shown(how, tmp_path):
    """What cannot be read is shown without its texts."""
    found = Migrated(tmp_path, f'{YOLO}data = dict(train=dict({HIDDEN[how]}))\n')
    assert SECRET[:16] not in found.text + found.report


def test_no_secret_of_an_unread_base_is_shown(tmp_path):
    """Neither one that is computed nor one in a list of its own."""
    bases = f"{YOLO.split(' = ')[1].strip()}, find({SECRET!r}), [find({SECRET!r})]"
    found = Migrated(tmp_path, f'_base_ = [{bases}]\n' + DATA.format(''))
    assert "_base_ find('…'): was not found" in found.report
    assert SECRET[:16] not in found.text + found.report


def test_no_secret_of_an_address_or_a_logger_is_copied(tmp_path):
    """A signed checkpoint is left out; keys of a logger at any depth."""
    inner = "dict(password='hunt', a=[dict(api_key='hunt')])"
    logger = f"dict(type='WandbLoggerHook', init_kwargs=dict(config={inner}))"
    address = 'https://user:hunter2@host/w.pth?X-Amz-Signature=abcdef'
    text = (
        YOLO
        + DATA.format('')
        + f'load_from = {address!r}\nmodel = dict(pretrained={address!r})\n'
        + f'log_config = dict(interval=50, hooks=[{logger}])\n'
    )
    found = Migrated(tmp_path, text)
    for secret in ('hunter2', 'abcdef', 'hunt'):
        assert secret not in found.text + found.report
    for key in ('load_from', 'model.backbone.init_cfg.checkpoint'):
        assert f'{key}: the address contains a secret' in found.report


def test_no_secret_of_any_other_address_is_copied(tmp_path):
    """Of a lake or an argument of a hook: what is left shows where it was."""
    address = 'https://user:hunter2@host/lake?sig=abcdef'
    hooks = f"custom_hooks = [dict(type='MemoryProfilerHook', interval={address!r})]\n"
    data = f"data = dict(train=dict(deeplake_path={address!r}))\n"
    found = Migrated(tmp_path, YOLO + data + hooks)
    for secret in ('hunter2', 'abcdef'):
        assert secret not in found.text + found.report
    for key in ('data.train.deeplake_path', 'custom_hooks[0].interval'):
        assert f'{key}: the address contains a secret, which is written' in found.report
    path = found.config.train_dataloader.dataset.deeplake_path
    assert path == 'https://***@host/lake?***'


NAMED = {
    'a name': ('from my_secrets import KEY\n', 'KEY', 'env:ACTIVELOOP_TOKEN'),
    'a reference': ('', "'env:MY_OWN_TOKEN'", 'env:MY_OWN_TOKEN'),
    'the name of the variable': ('', "'ACTIVELOOP_TOKEN'", 'env:ACTIVELOOP_TOKEN'),
    'a variable with an unknown name': (
        'import os\nfrom my_secrets import KEY\n',
        'os.environ[KEY]',
        'env:ACTIVELOOP_TOKEN',
    ),
}


@pytest.mark.parametrize('how', NAMED)
def test_references_stay_readable(how, tmp_path):
    """Names are no secrets, and other texts of the config stay as they are."""
    before, token, expected = NAMED[how]
    keys = f'deeplake_credentials=dict(token={token})'
    text = before + YOLO + DATA.format(keys) + "tokenizer = 'bert-base-uncased'\n"
    found = Migrated(tmp_path, text)
    dataset = found.config.train_dataloader.dataset
    assert dataset.deeplake_credentials.token == expected
    assert '***' not in found.text


SWAPPED = {
    "dict(type='RandomCenterCropPad', crop_size=(384, 600))": ('crop_size', (600, 384)),
    "dict(type='Pad', size=(384, 600))": ('size', (600, 384)),
    "dict(type='Mosaic', img_scale=(480, 640))": ('img_scale', (640, 480)),
    "dict(type='MixUp', img_scale=(480, 640))": ('img_scale', (640, 480)),
    "dict(type='RandomAffine', border=(-240, -320))": ('border', (-320, -240)),
    "dict(type='RandomCrop', crop_size=(384, 600))": ('crop_size', (600, 384)),
    "dict(type='RandomCrop', crop_size=(384, 600), crop_type='absolute_range')": (
        'crop_size',
        (384, 600),
    ),
}


@pytest.mark.parametrize('step', SWAPPED)
def test_heights_and_widths_change_places(step, tmp_path):
    """MMDetection 2 takes (height, width) where 3 takes (width, height)."""
    key, expected = SWAPPED[step]
    config = Migrated(tmp_path, pipeline_of(step)).config
    steps = config.train_dataloader.dataset.pipeline
    (found,) = [each for each in steps if key in each]
    assert tuple(found[key]) == expected


def test_colours_are_converted_unless_told_not_to(tmp_path):
    """Normalize of MMDetection 2 has to_rgb=True by default."""
    text = "model = dict(type='FCOS')\n" + DATA.format(
        "pipeline=[dict(type='Normalize', mean=[123.675, 116.28, 103.53], "
        'std=[58.395, 57.12, 57.375])]'
    )
    config = Migrated(tmp_path, text).config
    assert config.model.data_preprocessor.bgr_to_rgb is True


def test_keys_of_s3_become_references(tmp_path):
    """One from the environment keeps its variable; plain keys keep their values."""
    dataset = Migrated(tmp_path, S3).config.train_dataloader.dataset
    assert dataset.deeplake_credentials.creds == dict(
        aws_access_key_id='env:LAKE_KEY_ID',
        aws_secret_access_key='env:AWS_SECRET_ACCESS_KEY',
        endpoint_url='e',
        aws_region='us-east-1',
    )


def test_the_guide_keeps_what_it_states(tmp_path):
    """Sampler, metric, schedule and tensors are those of the old config."""
    found = Migrated(tmp_path, GUIDE)
    config = found.config
    train = config.train_dataloader
    assert (train.batch_size, train.num_workers) == (4, 8)
    assert train.sampler == dict(type='DeepLakeLoader', shuffle=True, loader_type='c++')
    assert train.dataset.deeplake_credentials == dict(token='env:ACTIVELOOP_TOKEN')
    assert train.dataset.deeplake_tensors.gt_labels == 'categories'
    assert config.val_evaluator == dict(
        type='DeepLakeMetric', metrics_format='COCO', metric='bbox'
    )
    assert config.train_cfg.max_epochs == 10 and config.train_cfg.val_interval == 10
    assert [step['type'] for step in train.dataset.pipeline] == [
        *('LoadImageFromFile', 'LoadAnnotations', 'Expand', 'RandomResize'),
        *('RandomFlip', 'PhotoMetricDistortion', 'PackDetInputs'),
    ]
    stock = Config.fromfile(STOCK_CONFIGS / 'yolo/yolov3_d53_8xb8-ms-416-273e_coco.py')
    model = {key: part for key, part in config.model.items() if key != '_scope_'}
    assert model == stock.model  # also the normalisation


def test_the_old_config_is_not_run(tmp_path):
    """A statement with an effect has none, and is named."""
    witness = tmp_path / 'witness'
    text = f'open({str(witness)!r}, "w")\n' + YOLO + DATA.format('')
    assert 'line 1 (expr): was not run' in Migrated(tmp_path, text).report
    assert not witness.exists()


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        pytest.param(GUIDE, "credentials.token: was a literal secret, which is not copied; set the environment variable ACTIVELOOP_TOKEN", id='literal token'),
        pytest.param(YOLO + DATA.format("deeplake_credentials=dict(username='me', password='pw')"), 'Deep Lake 4 has tokens only; create one on its web site', id='user name'),
        pytest.param(YOLO + DATA.format("deeplake_credentials=load()"), 'computed in the config, which is not copied', id='computed token'),
        pytest.param(YOLO + "data = dict(train=dict(deeplake_tensors=dict(img='images')))\n", 'passed as ds_train=…', id='no path'),
        pytest.param(YOLO + "data = dict(train=dict(deeplake_path=find()))\n", '(find()); write it by hand', id='computed path'),
        pytest.param(YOLO + "for path in 'ab':\n    pass\ndata = dict(train=dict(deeplake_path=path))\n", '(set in line 2); write it by hand', id='path of a loop'),
        pytest.param(YOLO + "data = dict(train=dict(deeplake_path=os.environ[KEY]))\n", '(os.environ[KEY]); write it by hand', id='unknown variable'),
        pytest.param(YOLO + DATA.format('') + "lr_config = dict(policy='step', step=[8], warmup='exp', warmup_iters=9)\n", 'exp has no counterpart; QuadraticWarmupLR, which begins at 0, is written', id='warmup'),
        pytest.param(pipeline_of("dict(type='Shear', level=3)"), 'Shear is left out: its strength is set in another way by ShearX or ShearY now', id='shear'),
        pytest.param(pipeline_of("dict(type='MyCrop')"), 'MyCrop is left out: MMDetection 3 has no transform of this name', id='own transform'),
        pytest.param(pipeline_of("dict(type='Mosaic', skip_filter=False)"), 'boxes are filtered by FilterAnnotations', id='argument'),
        pytest.param(pipeline_of("dict(type='RandomFlip', flip_ratio=0.5)"), 'has no Normalize, but the model of the new base normalises images', id='no Normalize'),
        pytest.param(YOLO + "data = dict(train=dict(deeplake_path='a'), val=dict(deeplake_path='b', pipeline=[dict(type='MultiScaleFlipAug', img_scale=[(9, 9), (8, 8)], flip=True, transforms=[])]))\n", 'only its first scale is kept, without flip', id='test-time augmentation'),
        pytest.param(YOLO + DATA.format('') + "deeplake_metrics_format = 'LVIS'\n", "must be 'COCO' or 'PascalVOC' in the old config, got 'LVIS'", id='format'),
        pytest.param(YOLO + DATA.format('') + "evaluation = dict(metric='mAP')\n", "evaluation.metric 'mAP': COCO has bbox or segm", id='metric'),
        pytest.param(YOLO + DATA.format('') + "lr_config = dict(policy='cyclic')\n", "policy 'cyclic' has no translation here", id='policy'),
        pytest.param(YOLO + DATA.format('') + "resume_from = 'a.pth'\n", 'its weights are loaded, and the training begins at epoch 0', id='resume'),
        pytest.param(YOLO + DATA.format('') + "custom_hooks = [dict(type='MyHook')]\n", 'custom_hooks[0] (MyHook): MMDetection 3 has no hook of this name', id='hook'),
        pytest.param(YOLO + DATA.format('') + "log_config = dict(hooks=[dict(type='NeptuneLoggerHook')])\n", 'log_config.hooks (NeptuneLoggerHook): MMEngine has no such backend', id='logger'),
        pytest.param(YOLO + DATA.format('') + "model = dict(bbox_head=dict(swiftness=3))\n", 'model.bbox_head.swiftness: YOLOV3Head of MMDetection 3 does not take it', id='model key'),
        pytest.param(YOLO + DATA.format('') + "model = dict(backbone=dict(type='MyNet'))\n", "MMDetection 3 has no 'MyNet'", id='model type'),
        pytest.param(YOLO + DATA.format("classes=('a', 'b')"), 'the old integration took the classes from the lake', id='classes'),
        pytest.param(YOLO + DATA.format("deeplake_view_id='v'"), "save it once with view.tag('NAME')", id='view'),
        pytest.param("_base_ = ['mine.py', 'configs/yolo/yolov3_d53_mstrain-416_273e_coco.py']\n" + DATA.format(''), '_base_ mine.py: was not found', id='base of the user'),
        pytest.param(YOLO + DATA.format('') + "momentum_config = dict(policy='cyclic')\n", 'momentum_config: write a scheduler of momentum', id='momentum'),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_over_is_said(text, said, tmp_path):
    """Word for word in the comments of the new file, and in the report or above a key."""
    found = Migrated(tmp_path, text)
    assert said in found.report or said in found.text
    comments = ' '.join(
        line.strip().lstrip('#').strip() for line in found.text.splitlines() if '#' in line
    )
    assert said in comments


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        pytest.param(BOXES + DATA.format(''), 'model.type is not set; name it, such as --base mmdet::', id='no model'),
        pytest.param("model = dict(type='MyDetector')\n" + DATA.format(''), "model.type is 'MyDetector'; name it", id='unknown model'),
        pytest.param(YOLO + "data = dict(train=dict(ann_file='a.json'))\n", 'none of its keys begins with deeplake_', id='on files'),
        pytest.param("train_dataloader = dict(deeplake_path='a')\n", 'it needs no migration', id='MMDetection 3'),
        pytest.param("deeplake_metrics_format = 'COCO'\n" + YOLO, 'data must be in the old config or in a base that is there, but is missing', id='no data'),
        pytest.param('data = dict(\n', 'must be Python, but line 1 is not', id='syntax'),
    ],
)  # fmt: skip
def test_what_cannot_be_migrated_is_an_error(text, said, tmp_path, capsys):
    """One line says what is missing, and nothing is written."""
    old, new = write_old(tmp_path / 'old.py', text), tmp_path / 'new.py'
    assert main([str(old), str(new)]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['old.py']


def test_a_base_may_be_named(tmp_path):
    """A file, by its path from the new config, or a config of MMDetection."""
    text = BOXES + DATA.format('pipeline=train_pipeline')
    base = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
    assert Migrated(tmp_path, text, base).config.model.type == 'FCOS'
    (tmp_path / 'below').mkdir()
    file = tmp_path / 'below' / 'base.py'
    file.write_text(f'_base_ = {base!r}\n')
    found = Migrated(tmp_path, text, str(file))
    assert found.config.model.type == 'FCOS' and "_base_ = 'below/base.py'" in found.text


def test_a_file_is_kept_without_force(tmp_path, capsys):
    """An existing file is an error; --force overwrites it, but never the old config."""
    old, new = write_old(tmp_path / 'old.py', GUIDE), tmp_path / 'new.py'
    new.write_text('mine')
    assert main([str(old), str(new)]) == 2
    assert 'exists already; add --force' in capsys.readouterr().err
    assert new.read_text() == 'mine'
    assert main([str(old), str(new), '--force']) == 0
    assert main([str(old), str(old), '--force']) == 2
    assert old.read_text() == GUIDE


def test_hooks_of_the_base_stay_if_not_all_can_be_carried(tmp_path):
    """Otherwise the list would replace hooks that the old config had in another form."""
    base = "_base_ = 'configs/yolox/yolox_s_8x8_300e_coco.py'\n"
    hooks = (
        "custom_hooks = [dict(type='YOLOXModeSwitchHook', num_last_epochs=9, priority=48)"
    )
    whole = Migrated(tmp_path, base + DATA.format('') + f'{hooks}]\n')
    assert whole.config.custom_hooks[0].num_last_epochs == 9
    ema = ", dict(type='ExpMomentumEMAHook')]\n"
    found = Migrated(tmp_path, base + DATA.format('') + hooks + ema)
    assert 'the hooks of the new base are kept' in found.report
    kinds = [hook.type for hook in found.config.custom_hooks]
    assert 'EMAHook' in kinds and kinds.count('NumClassCheckHook') == 1
    plain = Migrated(tmp_path, base + DATA.format(''))
    assert [hook.type for hook in plain.config.custom_hooks] == kinds


def test_variables_stay_variables(tmp_path, monkeypatch):
    """A path from the environment is read when the new config is, not before."""
    text = "import os\n" + YOLO
    text += "data = dict(train=dict(deeplake_path=f\"{os.environ['LAKES']}/train\"))\n"
    monkeypatch.setenv('LAKES', 'there')
    found = Migrated(tmp_path, text)
    assert "'{{$LAKES:}}/train'" in found.text
    assert found.config.train_dataloader.dataset.deeplake_path == 'there/train'
    monkeypatch.delenv('LAKES')
    migrate(tmp_path / 'old.py', tmp_path / 'new.py', force=True)


def test_datasets_may_have_pipelines_of_their_own(tmp_path):
    """Each stands before the loaders that use it."""
    first, second = (
        f"dict(deeplake_path='lake', pipeline=[dict(type='{kind}')])"
        for kind in ('RandomFlip', 'PhotoMetricDistortion')
    )
    text = f'{YOLO}data = dict(train=[{first}, {second}])\n'
    datasets = Migrated(tmp_path, text).config.train_dataloader.dataset.datasets
    kinds = [[step['type'] for step in each.pipeline] for each in datasets]
    assert 'RandomFlip' in kinds[0] and 'PhotoMetricDistortion' in kinds[1]


def test_a_base_with_several_datasets_has_a_pipeline(tmp_path):
    """That of Pascal VOC joins two years; the old config has no pipeline of its own."""
    parts = ('models/faster_rcnn_r50_fpn', 'datasets/voc0712', 'schedules/schedule_1x')
    bases = [f'../_base_/{part}.py' for part in parts]
    found = Migrated(tmp_path, f'_base_ = {bases}\n' + DATA.format(''))
    dataset = found.config.train_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    assert dataset.type == 'DeepLakeDataset' and dataset.deeplake_path == 'lake'
    assert dataset.pipeline == found.config.train_pipeline


def test_what_is_computed_hides_nothing_else(tmp_path):
    """Only the smallest part that cannot be read is named, also as the operand of not."""
    keys = "deeplake_commit_id=find() + 'a', deeplake_tensors=dict(img='images')"
    text = YOLO + DATA.format(keys) + 'log_config = load()\nauto_scale_lr = not load()\n'
    found = Migrated(tmp_path, text)
    assert found.config.train_dataloader.dataset.deeplake_tensors.img == 'images'
    for key, shown in {
        'data.train.deeplake_commit_id': "find() + '…'",
        'log_config': 'load()',
        'auto_scale_lr': 'not load()',
    }.items():
        assert f'{key}: the value is only known' in found.report
        assert f'({shown})' in found.report


def test_the_rule_of_the_best_checkpoint_stays(tmp_path):
    """The number has a prefix now, the rule by which numbers are compared has none."""
    best = "evaluation = dict(save_best='bbox_mAP', rule='greater')\n"
    hooks = Migrated(tmp_path, YOLO + DATA.format('') + best).config.default_hooks
    assert hooks.checkpoint.save_best == 'coco/bbox_mAP'
    assert hooks.checkpoint.rule == 'greater'
