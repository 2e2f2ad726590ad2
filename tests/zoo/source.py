"""The real images that all test data of the zoo are made of, with classes at will."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Annotation = dict[str, Any]


class Source:
    """The images of ``coco_cc`` and their 421 instances.

    Args:
        folder: Folder of ``coco_cc``.
    """

    def __init__(self, folder: Path) -> None:
        self.images = folder / 'images'
        self._coco = json.loads((folder / 'instances.json').read_text())

    def coco(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """The content of a COCO file with certain classes.

        Category ``c`` of COCO's 80 becomes class ``c`` modulo the number of classes, so
        with COCO's own names nothing changes; else ids are 1, 2, ….

        Args:
            classes: Class names.
        """
        own = self._coco['categories']
        if classes == tuple(category['name'] for category in own):
            return self._coco
        position = {category['id']: index for index, category in enumerate(own)}
        annotations = [
            {**ann, 'category_id': 1 + position[ann['category_id']] % len(classes)}
            for ann in self._coco['annotations']
        ]
        categories = [{'id': 1 + i, 'name': name} for i, name in enumerate(classes)]
        return {**self._coco, 'annotations': annotations, 'categories': categories}

    @property
    def image_infos(self) -> list[dict[str, Any]]:
        """The images of the COCO file."""
        return self._coco['images']

    def painted(self, info: dict[str, Any]) -> Iterator[tuple[Annotation, NDArray]]:
        """The annotations of an image with their masks ``(H, W)`` of bool.

        Args:
            info: The image, of ``image_infos``.
        """
        size = info['height'], info['width']
        for ann in self._by_image.get(info['id'], []):
            code = coco_mask.frPyObjects(ann['segmentation'], *size)
            if isinstance(code, list):
                code = coco_mask.merge(code)
            yield ann, coco_mask.decode(code).astype(bool)

    @cached_property
    def _by_image(self) -> dict[int, list[Annotation]]:
        found: dict[int, list[Annotation]] = {}
        for ann in self._coco['annotations']:
            found.setdefault(ann['image_id'], []).append(ann)
        return found

    def category_index(self, annotation: Annotation) -> int:
        """Position of an annotation's category among COCO's 80."""
        return self._category_index[annotation['category_id']]

    @cached_property
    def _category_index(self) -> dict[int, int]:
        return {c['id']: index for index, c in enumerate(self._coco['categories'])}


def stem(info: dict[str, Any]) -> str:
    """Name of an image without its suffix."""
    return Path(info['file_name']).stem
