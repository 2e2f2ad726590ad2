"""Runs the tools that ship with MMDetection, as a user would, and reads their output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import mmdet
import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
TOOLS = Path(mmdet.__file__).parent / '.mim' / 'tools'
TIMINGS = ('data_time', 'time')


class StockTools:
    """Runs stock tools on the configs of this folder.

    Args:
        variables: Variables of the environment, which the configs read.
    """

    def __init__(self, variables: dict[str, str]) -> None:
        # dist_train.sh calls ``python``.
        path = [str(Path(sys.executable).parent), os.environ.get('PATH', '')]
        python_path = [str(HERE), os.environ.get('PYTHONPATH', '')]
        self._environment = {
            **os.environ,
            'CUDA_VISIBLE_DEVICES': '-1',  # on a GPU nothing here would be exact
            'MPLBACKEND': 'Agg',
            'OMP_NUM_THREADS': '1',
            'PATH': os.pathsep.join(path),
            'PYTHONUNBUFFERED': '1',  # what a tool ends with stands at the end
            'PYTHONPATH': os.pathsep.join(filter(None, python_path)),
            # torch >= 2.6 refuses the checkpoints of MMEngine otherwise.
            'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD': '1',
            **variables,
        }

    def __call__(
        self,
        tool: str,
        config: str | Path,
        *arguments: object,
        options: Sequence[str] = (),
        timeout: float = 600,
        **variables: str,
    ) -> str:
        """Runs a tool, which must end well.

        Args:
            tool: Path below MMDetection's ``tools``.
            config: Name of a config in this folder, or path of one elsewhere.
            arguments: What follows the config on the command line.
            options: For ``--cfg-options``.
            timeout: Seconds after which the tool and its children are killed.
            variables: More variables of the environment.

        Returns:
            What it wrote to stdout and stderr.
        """
        shell = 'bash' if tool.endswith('.sh') else sys.executable
        command = [shell, TOOLS / tool, (HERE / config).with_suffix('.py'), *arguments]
        command += ['--cfg-options', *options] if options else []
        process = subprocess.Popen(
            [str(word) for word in command],
            env={**self._environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=timeout)
            end = f'ended with {process.returncode}'
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            end = f'was killed after {timeout} s'
        if process.returncode:
            tail = '\n'.join(output.splitlines()[-60:])
            pytest.fail(f'{" ".join(process.args)}\n{end}:\n{tail}', pytrace=False)
        return output


def training_log(work_dir: Path) -> list[dict]:
    """What a training logged, an entry each iteration and validation, untimed."""
    (file,) = work_dir.glob('*/vis_data/scalars.json')
    return [_untimed(json.loads(line)) for line in file.read_text().splitlines()]


def iterations(log: list[dict]) -> list[dict]:
    """The entries of a training log that stand for an iteration."""
    return [entry for entry in log if 'loss' in entry]


def validations(log: list[dict]) -> list[dict]:
    """The entries of a training log that stand for a validation."""
    return [entry for entry in log if 'loss' not in entry]


def metrics_of_test(work_dir: Path) -> dict[str, float]:
    """The numbers that ``test.py`` wrote."""
    (file,) = work_dir.glob('*/*.json')
    return _untimed(json.loads(file.read_text()))


def pictures(folder: Path) -> dict[str, np.ndarray]:
    """Path below the folder -> pixels, of every picture in it."""
    return {
        str(file.relative_to(folder)): cv2.imread(str(file))
        for file in sorted(folder.rglob('*'))
        if file.suffix in ('.jpg', '.png')
    }


def assert_same_pictures(left: dict, right: dict) -> None:
    """Fails unless both hold the same names and pixels, and any at all."""
    assert left and left.keys() == right.keys()
    for name in left:
        assert np.array_equal(left[name], right[name]), name


def _untimed(entry: dict) -> dict:
    return {key: value for key, value in entry.items() if key not in TIMINGS}
