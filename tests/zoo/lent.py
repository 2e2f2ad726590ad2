"""Lends MMDetection what its classes ask for and cannot be had here.

- ``np.float`` and ``np.in1d``, which the packages ``lvis`` and ``cityscapesscripts`` and
  MMDetection's own ``YTVISeval`` use and numpy removed;
- to ``eval_recalls``, an ``np.array`` that makes an array of objects of matrices of several
  shapes, as numpy did before 1.24;
- a tokenizer that splits at words, in place of BERT's, whose vocabulary is a download;
- ``D3`` of ``ddd-dataset``, and ``jsonlines``, if they are not installed.

What is lent serves files and lakes alike.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import dod
from mmdet.datasets.transforms import text_transformers
from mmdet.evaluation.metrics import dump_odvg_results

# Modules that use what numpy removed.
OLD = (
    'mmdet.evaluation.functional.recall',
    'mmdet.evaluation.functional.ytviseval',
    'lvis.eval',
    'cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling',
)


class _OldNumpy:
    """numpy with what it no longer has."""

    float = float
    in1d = staticmethod(np.isin)

    @staticmethod
    def array(values: Any, *args: Any, **kwargs: Any) -> Any:
        """An array, of objects if the values differ in shape."""
        try:
            return np.array(values, *args, **kwargs)
        except ValueError:
            found = np.empty(len(values), object)
            for index, value in enumerate(values):
                found[index] = value
            return found

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


class Words:
    """A tokenizer that splits at words."""

    @classmethod
    def from_pretrained(cls, name: str) -> Words:
        """As that of ``transformers``."""
        return cls()

    def tokenize(self, text: str) -> list[str]:
        """Words and marks of a text."""
        return re.findall(r'\w+|[^\w\s]', text)


class Descriptions:
    """What ``DODDataset`` asks ``D3`` for."""

    def __init__(self, img_root: str, anno_root: str) -> None:
        self.data = {
            name: pickle.loads((Path(anno_root) / f'{name}.pkl').read_bytes())
            for name in ('sentences', 'images', 'groups')
        }

    def load_sents(self, sent_ids: Any = None) -> list[dict[str, Any]]:
        """Sentences, all or some."""
        ids = self.data['sentences'] if sent_ids is None else sent_ids
        return [self.data['sentences'][each] for each in ids]

    def get_img_ids(self) -> list[int]:
        """Ids of all images."""
        return list(self.data['images'])

    def load_imgs(self, img_id: int) -> list[dict[str, Any]]:
        """An image."""
        return [self.data['images'][img_id]]

    def get_group_ids(self, img_ids: list[int]) -> list[int]:
        """Groups of images."""
        return list({self.data['images'][each]['group_id'] for each in img_ids})

    def get_sent_ids(self, group_ids: list[int]) -> list[int]:
        """Sentences of groups."""
        found: set[int] = set()
        for each in group_ids:
            found |= set(self.data['groups'][each]['inner_sent_id'])
        return list(found)


class _Lines:
    """``jsonlines``, as far as it is used."""

    @contextlib.contextmanager
    def open(self, path: str, mode: str) -> Iterator[_Lines]:
        """Open a file."""
        with Path(path).open(mode) as self.file:
            yield self

    def write_all(self, values: list[Any]) -> None:
        """Write a line for each value."""
        self.file.writelines(f'{json.dumps(value)}\n' for value in values)


@contextlib.contextmanager
def lent() -> Iterator[None]:
    """Lends all of it for a while."""
    loans = [
        (text_transformers, 'AutoTokenizer', Words),
        (dod, 'D3', Descriptions),
        (dump_odvg_results, 'jsonlines', _Lines()),
    ]
    given = [loan for loan in loans if getattr(*loan[:2], None) is None]
    for name in OLD:
        with contextlib.suppress(ImportError):
            given.append((importlib.import_module(name), 'np', _OldNumpy()))
    before = [getattr(module, name, None) for module, name, _ in given]
    for loan in given:
        setattr(*loan)
    try:
        yield
    finally:
        for (module, name, _), value in zip(given, before):
            setattr(module, name, value)
