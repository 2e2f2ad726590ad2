"""Finds the config of MMDetection 3 that a new config inherits."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config
from mmengine.fileio import load
from mmengine.utils import get_installed_path

from ...utils.messages import comma_joined
from .expressions import as_dict
from .reading import OldConfig

# Model type of MMDetection 2 -> its plainest config in MMDetection 3.
BY_TYPE = {
    'ATSS': 'atss/atss_r50_fpn_1x_coco.py',
    'AutoAssign': 'autoassign/autoassign_r50-caffe_fpn_1x_coco.py',
    'CascadeRCNN': 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'CenterNet': 'centernet/centernet_r18_8xb16-crop512-140e_coco.py',
    'DETR': 'detr/detr_r50_8xb2-150e_coco.py',
    'DDOD': 'ddod/ddod_r50_fpn_1x_coco.py',
    'DeformableDETR': 'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'FCOS': 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'FOVEA': 'foveabox/fovea_r50_fpn_4xb4-1x_coco.py',
    'FSAF': 'fsaf/fsaf_r50_fpn_1x_coco.py',
    'FasterRCNN': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'GFL': 'gfl/gfl_r50_fpn_1x_coco.py',
    'GridRCNN': 'grid_rcnn/grid-rcnn_r50_fpn_gn-head_2x_coco.py',
    'HybridTaskCascade': 'htc/htc-without-semantic_r50_fpn_1x_coco.py',
    'Mask2Former': 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
    'MaskRCNN': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'MaskScoringRCNN': 'ms_rcnn/ms-rcnn_r50-caffe_fpn_1x_coco.py',
    'NASFCOS': 'nas_fcos/nas-fcos_r50-caffe_fpn_fcoshead-gn-head_4xb4-1x_coco.py',
    'PAA': 'paa/paa_r50_fpn_1x_coco.py',
    'PointRend': 'point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py',
    'QueryInst': 'queryinst/queryinst_r50_fpn_1x_coco.py',
    'RPN': 'rpn/rpn_r50_fpn_1x_coco.py',
    'RepPointsDetector': 'reppoints/reppoints-moment_r50_fpn_1x_coco.py',
    'RetinaNet': 'retinanet/retinanet_r50_fpn_1x_coco.py',
    'SCNet': 'scnet/scnet_r50_fpn_1x_coco.py',
    'SOLO': 'solo/solo_r50_fpn_1x_coco.py',
    'SOLOv2': 'solov2/solov2_r50_fpn_1x_coco.py',
    'SparseRCNN': 'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py',
    'TOOD': 'tood/tood_r50_fpn_1x_coco.py',
    'TridentFasterRCNN': 'tridentnet/tridentnet_r50-caffe_1x_coco.py',
    'VFNet': 'vfnet/vfnet_r50_fpn_1x_coco.py',
    'YOLACT': 'yolact/yolact_r50_1xb8-55e_coco.py',
    'YOLOF': 'yolof/yolof_r50-c5_8xb8-1x_coco.py',
    'YOLOV3': 'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py',
    'YOLOX': 'yolox/yolox_s_8xb8-300e_coco.py',
}
_PREFIX = 'mmdet::'
# 8x2, 8xb2: GPUs and images, which only new names have everywhere. Not 64x4d of ResNeXt.
_BATCHES = re.compile(r'\d+xb?\d+$')
_WORDS = {'mstrain': 'ms', 'fp16': 'amp'}


@dataclass(frozen=True)
class NewBase:
    """What the new config inherits.

    Args:
        entries: For ``_base_``.
        config: What they give together.
        how: How they were found, for the report.
    """

    entries: tuple[str, ...]
    config: Config
    how: str


def is_stock(path: str) -> bool:
    """Return whether a path in an old ``_base_`` is a config of MMDetection."""
    return bool(_counterparts(path))


def find_base(old: OldConfig, base: str | None, folder: Path) -> NewBase:
    """Find the base of the new config.

    Args:
        old: The old config.
        base: ``mmdet::…`` or a file, if the user named it.
        folder: Folder of the new config.

    Raises:
        FileNotFoundError: If ``base`` does not exist.
        ValueError: If no base was named and none was found.
    """
    if base is not None:
        return _inherit([base], folder, '--base')
    if old.bases:
        entries = []
        for path in old.bases:
            found = _counterparts(path)
            if len(found) > 1:
                options = comma_joined(f'--base {_PREFIX}{each}' for each in found)
                raise ValueError(
                    f'_base_ = {path!r} must have one counterpart in MMDetection 3, '
                    f'found {len(found)}; add one of: {options}'
                )
            entries.append(_PREFIX + found[0])
        return _inherit(entries, folder, 'by the name of the old base')
    model = as_dict(old.values.get('model'))
    kind, suits = model.get('type'), _by_model(model)
    if suits is not None:
        return _inherit([_PREFIX + suits], folder, f'by the type of the model, {kind}')
    what = f'model.type is {kind!r}' if kind else 'model.type is not set'
    if old.missing:
        what += f' and _base_ is {comma_joined(map(repr, old.missing))}'
    raise ValueError(
        'the config of MMDetection 3 to inherit was not found from the old config: '
        f'{what}; name it, such as --base {_PREFIX}{BY_TYPE["RetinaNet"]} '
        f'(the configs are in {_folder_name()})'
    )


@cache
def configs_folder() -> Path:
    """Return the folder of the configs that come with MMDetection."""
    package = Path(get_installed_path('mmdet'))
    installed = package / '.mim' / 'configs'
    return installed if installed.is_dir() else package.parent / 'configs'


def _folder_name() -> str:
    return 'mmdet/.mim/configs' if '.mim' in configs_folder().parts else 'configs'


def _by_model(model: dict[str, Any]) -> str | None:
    kind = model.get('type')
    if kind == 'CascadeRCNN' and 'mask_head' in as_dict(model.get('roi_head')):
        return 'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py'
    if kind == 'SingleStageDetector':
        head = as_dict(model.get('bbox_head')).get('type')
        return 'ssd/ssd300_coco.py' if head == 'SSDHead' else None
    return BY_TYPE.get(kind) if isinstance(kind, str) else None


def _inherit(entries: list[str], folder: Path, how: str) -> NewBase:
    written, read = [], []
    for entry in entries:
        if entry.startswith(_PREFIX):
            file = configs_folder() / entry[len(_PREFIX) :]
            written.append(entry)
            read.append(entry)
        else:
            file = Path(entry)
            # MMEngine takes the path from the folder of the new config.
            written.append(Path(os.path.relpath(file, folder)).as_posix())
            read.append(str(file.resolve()))
        if not file.is_file():
            raise FileNotFoundError(
                f'--base {entry} does not exist; write {_PREFIX}FOLDER/NAME.py for a '
                f'config of MMDetection (they are in {_folder_name()}), or a file'
            )
    with TemporaryDirectory() as temporary:
        joined = Path(temporary) / 'joined.py'
        joined.write_text(f'_base_ = {read!r}\n')
        return NewBase(tuple(written), Config.fromfile(joined), how)


@cache
def _counterparts(path: str) -> tuple[str, ...]:
    """Return the configs of MMDetection 3 that may be a config of MMDetection 2."""
    parts = Path(path).with_suffix('').parts
    if not parts or not path.endswith('.py'):
        return ()
    *folders, name = parts
    parent = folders[-1] if folders else ''
    is_part = '_base_' in folders
    names = _names().get(_key(name), ())
    found = [new for new in names if new.startswith('_base_/') == is_part]
    if is_part:
        return tuple(new for new in found if f'{parent}/' in new)
    found = found or list(_by_weights().get(name, ()))
    same = [new for new in found if new.startswith(f'{parent}/')] or found
    # Of two that differ in the number of GPUs, the one that is spelt like the old one.
    spelt = [new for new in same if _letters(Path(new).stem) == _letters(name)]
    return tuple(spelt or same)


def _letters(name: str) -> str:
    return re.sub('[-_]', '', name)


def _key(name: str) -> tuple[str, ...]:
    words = re.split('[-_]', re.sub(r'resnet(?=\d)', 'r', name.lower()))
    return tuple(_WORDS.get(word, word) for word in words if not _BATCHES.match(word))


@cache
def _names() -> dict[tuple[str, ...], list[str]]:
    names: dict[tuple[str, ...], list[str]] = {}
    for file in sorted(configs_folder().rglob('*.py')):
        new = file.relative_to(configs_folder()).as_posix()
        names.setdefault(_key(file.stem), []).append(new)
    return names


@cache
def _by_weights() -> dict[str, list[str]]:
    """Old name -> configs whose published weights are in a folder of that name."""
    names: dict[str, list[str]] = {}
    for file in sorted(configs_folder().glob('*/metafile.yml')):
        content = load(file)
        models = content.get('Models') if isinstance(content, dict) else content
        for model in models or ():
            weights, config = model.get('Weights'), model.get('Config', '')
            new = config.partition('configs/')[2]
            if isinstance(weights, str) and (configs_folder() / new).is_file() and new:
                names.setdefault(weights.split('/')[-2], []).append(new)
    return names
