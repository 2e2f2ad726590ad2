"""Hold what an annotation file says of an image and a text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class GroundedImage:
    """An image with a text, or with several, and ``N`` annotations.

    Args:
        img_id: Id of the image, or of the expression.
        file_name: Path of the image in its folder.
        width: Width in pixels.
        height: Height in pixels.
        boxes: For each annotation left, top, width and height in pixels.
        keys: Further keys of the sample, as the stock dataset has them.
        labels: Index of each annotation's class.
        crowds: Whether losses ignore an annotation; empty for none.
        masks: For each annotation polygons or a run-length code; empty without masks.
    """

    img_id: Any
    file_name: str
    width: int
    height: int
    boxes: list[list[float]]
    keys: dict[str, Any]
    labels: list[int]
    crowds: list[int] = field(default_factory=list)
    masks: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class GroundedImages:
    """A checked annotation file.

    Args:
        images: Its images, in the order of the stock dataset.
        class_names: Name of each label.
        category_ids: Id of each class in the file.
    """

    images: list[GroundedImage]
    class_names: list[str]
    category_ids: list[int]
