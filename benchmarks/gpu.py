"""On a GPU: what share of a training's time waits for data?

RTMDet-tiny and Faster R-CNN train on a local lake with mixed precision, by MMEngine's own
runner; its message hub tells how long each iteration took and how long it waited for its
batch. Without a GPU it says so and measures nothing; ``--device cpu`` shows that it runs.
"""

from __future__ import annotations

import tempfile
from functools import partial
from typing import Any

import torch
from _children import NotRunError, run_child, serve
from _common import OUT, Report, interleaved, make_parser, median
from _data import photographs
from _sizes import sizes
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

# Name -> its stock config, and batch size.
MODELS = {
    'RTMDet-tiny': ('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', 32),
    'Faster R-CNN R50': ('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 8),
}
WARM = 20  # iterations before the first that counts


@HOOKS.register_module()
class WaitingHook(Hook):
    """Sums what iterations took, and what of it they waited for data.

    Args:
        warm: Iterations that are not counted.
    """

    def __init__(self, warm: int) -> None:
        self.warm = warm
        self.waited = self.spent = 0.0
        self.count = 0

    def after_train_iter(self, runner: Any, batch_idx: int, **kwargs: Any) -> None:
        """Reads the last iteration's times, as ``IterTimerHook`` noted them."""
        if batch_idx < self.warm:
            return
        scalars = runner.message_hub.log_scalars
        self.waited += scalars['train/data_time'].current()
        self.spent += scalars['train/time'].current()
        self.count += 1


def measure(
    model: str,
    images: int,
    workers: int,
    iterations: int,
    device: str,
    batch_size: int,
    warm: int,
) -> dict[str, float]:
    """Trains, and says what share of the time waited for data.

    Args:
        model: Name of the model.
        images: Number of images of the data.
        workers: Workers of the dataloader.
        iterations: How many are counted.
        device: ``'cuda'`` or ``'cpu'``.
        batch_size: Of each iteration.
        warm: Iterations before that are not counted.
    """
    config = Config.fromfile(_write_config(model, photographs(images).lake))
    config.train_dataloader.update(
        batch_size=batch_size, num_workers=workers, persistent_workers=True
    )
    config.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=warm + iterations, val_interval=10**9
    )
    config.param_scheduler = []
    config.work_dir = tempfile.mkdtemp(dir=OUT)
    if device == 'cuda':
        config.optim_wrapper.type = 'AmpOptimWrapper'
    config.custom_hooks = [dict(type='WaitingHook', warm=warm, priority='LOWEST')]
    config.default_hooks.checkpoint = None
    config.log_level = 'ERROR'
    runner = Runner.from_cfg(config)
    runner.train()
    hook = next(hook for hook in runner.hooks if isinstance(hook, WaitingHook))
    return {
        'share': hook.waited / hook.spent,
        'rate': batch_size * hook.count / hook.spent,
    }


def _write_config(model: str, lake: str) -> str:
    """A stock config on the lake, without pretrained weights and validation."""
    text = f"""
_base_ = {MODELS[model][0]!r}
custom_imports = dict(imports=['mmdet_deeplake_plugin'])
train_dataloader = dict(
    collate_fn=dict(type='deeplake_collate'), batch_sampler=None,
    sampler=dict(_delete_=True, type='DeepLakeLoader', shuffle=True),
    dataset=dict(_delete_=True, type='DeepLakeDataset', deeplake_path={lake!r},
                 filter_cfg=dict(filter_empty_gt=True, min_size=32),
                 pipeline=_base_.train_pipeline))
model = dict(backbone=dict(init_cfg=None))
val_dataloader = val_cfg = val_evaluator = None
test_dataloader = test_cfg = test_evaluator = None
"""
    with tempfile.NamedTemporaryFile('w', suffix='.py', dir=OUT, delete=False) as file:
        file.write(text)
    return file.name


def main() -> None:
    """Measures, and reports."""
    serve({'measure': measure})
    parser = make_parser(__doc__)
    parser.add_argument('--device', default='cuda', choices=('cuda', 'cpu'))
    parser.add_argument('--workers', type=int, default=8, help='of the dataloader (8)')
    args = parser.parse_args()
    report = Report('gpu', 'Does a GPU wait for data?', args.quick)
    head = ['', 'share of the time that waits for data', 'images/s']
    if args.device == 'cuda' and not torch.cuda.is_available():
        rows: list[list[Any]] = [[name, 'not run: no GPU', None] for name in MODELS]
        report.table('Training on a local lake, AMP', head, rows)
        for name in MODELS:
            report.goal(f'≤ 2 % of the time waits for data: {name}', 'no GPU', None)
        report.write()
        return
    images = sizes(args.quick).photographs
    photographs(images)
    iterations = 3 if args.quick else 200
    repetitions = args.repetitions or (1 if args.quick else 3)
    device = torch.cuda.get_device_name() if args.device == 'cuda' else 'cpu'
    report.settings = {
        'device': device,
        'workers': args.workers,
        'iterations': iterations,
        'repetitions': repetitions,
    }
    cases = {
        name: partial(
            run_child,
            __file__,
            'measure',
            model=name,
            images=images,
            workers=args.workers,
            iterations=iterations,
            device=args.device,
            batch_size=2 if args.quick else batch_size,
            warm=1 if args.quick else WARM,
        )
        for name, (_, batch_size) in MODELS.items()
    }
    try:
        found = interleaved(cases, repetitions, 'training')
    except NotRunError as error:
        report.table('Training on a local lake', head, [['', f'not run: {error}', None]])
        report.write()
        return
    report.raw['training'] = found
    rows = []
    for name, runs in found.items():
        share = median([run['share'] for run in runs])
        rows.append([name, f'{share:.1%}', median([run['rate'] for run in runs])])
        met = share <= 0.02 if args.device == 'cuda' else None
        report.goal(f'≤ 2 % of the time waits for data: {name}', f'{share:.1%}', met)
    report.table('Training on a local lake, AMP', head, rows)
    report.write()


if __name__ == '__main__':
    main()
