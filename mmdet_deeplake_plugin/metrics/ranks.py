"""Let all ranks take part in an evaluation that rank 0 leads, and in its errors."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import (
    all_gather_object,
    broadcast_object_list,
    get_dist_info,
    get_world_size,
)
from mmengine.evaluator import BaseMetric

from ..evaluation.groups.jobs import Job, Spread, Task, deal
from ..utils.distributed import on_main_rank, portable
from ..utils.scratch import read_value, write_value

_FOLDER = '.dist_test'  # as MMEngine, when no folder is set


class SharedErrors(BaseMetric):
    """A metric that rank 0 computes; an error there is raised by all ranks.

    MMEngine's other ranks would wait for its numbers.
    """

    _failure: Exception | None = None
    _is_shared = False

    def evaluate(self, size: int) -> dict[str, Any]:
        """Compute the numbers of all ranks, or raise what failed on rank 0."""
        self._is_shared = get_world_size() > 1
        try:
            numbers: dict[str, Any] = super().evaluate(size)
        finally:
            self._is_shared, failure, self._failure = False, self._failure, None
        for failed in (failure, *numbers.values()):
            if isinstance(failed, Exception):
                raise failed
        return numbers

    def compute_metrics(self, results: Any) -> dict[str, Any]:
        """Compute the numbers, and hand an error on in their place."""
        try:
            return self.compute(results)
        except Exception as error:
            if not self._is_shared:
                raise
            self._failure = error
            return {'error': portable(error)}

    @abstractmethod
    def compute(self, results: Any) -> dict[str, Any]:
        """Compute the numbers from the results of all ranks."""


class Ranks(contextlib.AbstractContextManager):
    """The exchange of one evaluation.

    With ``'cpu'``, large values go through files, whose arrays are mapped rather than
    read: ranks of a node share the pages. A file is deleted as soon as those that need it
    have opened it. With ``'gpu'`` or ``'npu'`` they go through the device.

    Args:
        device: ``'cpu'``, ``'gpu'`` or ``'npu'``.
        folder: Folder that all ranks share, for ``'cpu'``. Defaults to ``.dist_test`` in
            the folder where the ranks were started, as in MMEngine.
    """

    def __init__(self, device: str, folder: str | os.PathLike[str] | None) -> None:
        self.rank, self.count = get_dist_info()
        self._parent = Path(_FOLDER if folder is None else folder)
        self._folder = on_main_rank(self._make_folder) if device == 'cpu' else None
        self._number = 0

    def __exit__(self, *_: Any) -> None:
        """Delete what is left of the folder."""
        if self._folder is not None and self.rank == 0:
            shutil.rmtree(self._folder, ignore_errors=True)

    def collect(self, task: Callable[[], Any]) -> list[Any]:
        """Run a task on each rank, all of which must call it.

        Returns:
            The results by rank; empty on other ranks than 0.

        Raises:
            Exception: On rank 0, what a task of any rank raised.
        """
        own, sent, failure = None, None, None
        try:
            own = task()
            sent = self._send(own) if self.rank else None
        except Exception as error:  # else the others would wait
            failure = portable(error)
        outcomes = all_gather_object((sent, failure))
        if self.rank:
            return []
        for _, failed in outcomes:
            if failed is not None:
                raise failed
        return [own, *(self._receive(value, delete=True) for value, _ in outcomes[1:])]

    def lead(self, work: Callable[[Spread], Any]) -> Any:
        """Do what rank 0 does, and give its result, or its error, to all ranks."""
        try:
            result = work(self._spread)
        except Exception as error:
            broadcast_object_list([('failed', portable(error))])
            raise
        broadcast_object_list([('done', result)])
        return result

    def follow(self, value: Any) -> Any:
        """Do what the other ranks do: give a value, then work until rank 0 is done.

        Returns the result of rank 0, or raises its error.
        """
        self.collect(lambda: value)
        while True:
            message: list[Any] = [None]
            broadcast_object_list(message)
            kind, content = message[0]
            if kind == 'failed':
                raise content
            if kind == 'done':
                return content
            self.collect(lambda: self._share(*self._receive(content)))  # noqa: B023

    def _spread(self, task: Task, jobs: Sequence[Job]) -> list[Any]:
        """Run jobs on all ranks, and return their results in the order of the jobs."""
        hands = deal([job.weight for job in jobs], self.count)
        sent = self._send((task, jobs, hands))
        broadcast_object_list([('work', sent)])
        shares = self.collect(lambda: self._share(task, jobs, hands))
        if self._folder is not None:
            os.unlink(sent)
        results: list[Any] = [None] * len(jobs)
        for hand, share in zip(hands, shares):
            for number, result in zip(hand, share):
                results[number] = result
        return results

    def _share(
        self, task: Task, jobs: Sequence[Job], hands: list[list[int]]
    ) -> list[Any]:
        return [task.run(jobs[number]) for number in hands[self.rank]]

    def _send(self, value: Any) -> Any:
        """Return what stands for a value in a message."""
        if self._folder is None:
            return value
        self._number += 1
        path = self._folder / f'{self.rank}_{self._number}'
        with path.open('wb') as file:
            write_value(value, file)
        return str(path)

    def _receive(self, sent: Any, delete: bool = False) -> Any:
        """Return the value that a message stands for."""
        if self._folder is None:
            return sent
        try:
            with open(sent, 'rb') as file:
                if delete:
                    os.unlink(sent)
                return read_value(file)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"collect_device='cpu' needs a folder that all ranks share, but "
                f'{self._parent} lacks what another rank wrote; set collect_dir to a '
                "shared folder, or write collect_device='gpu'"
            ) from error

    def _make_folder(self) -> Path:
        self._parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self._parent)).absolute()
