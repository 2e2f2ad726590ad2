"""The values of ``metrics_format``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...utils.messages import comma_joined
from ...utils.values import is_list
from ..format import MetricFormat
from ..instances import (
    CocoFormat,
    CrowdHumanFormat,
    LvisFormat,
    OpenImagesFormat,
    VocFormat,
)
from ..panoptic import PanopticFormat
from ..semseg import SemSegFormat
from .masks import CityscapesFormat, CocoOccludedFormat
from .open_vocabulary import (
    DodFormat,
    FixedApFormat,
    Flickr30kFormat,
    GRefCocoFormat,
    OvCocoFormat,
    RefExpFormat,
)
from .videos import CocoVideoFormat, MotFormat, ReidFormat, YouTubeVisFormat

FORMATS: dict[str, type[MetricFormat]] = {
    each.name: each
    for each in (
        *(CocoFormat, LvisFormat, VocFormat, PanopticFormat, SemSegFormat),
        *(CrowdHumanFormat, OpenImagesFormat, CityscapesFormat, CocoOccludedFormat),
        *(FixedApFormat, OvCocoFormat, RefExpFormat, GRefCocoFormat, Flickr30kFormat),
        *(DodFormat, MotFormat, YouTubeVisFormat, CocoVideoFormat, ReidFormat),
    )
}


def refuse_of_others(chosen: type[MetricFormat], options: Mapping[str, Any]) -> None:
    """Refuse options of ``DeepLakeMetric`` that were set, but belong to other formats.

    Raises:
        ValueError: If there is one. The message says which formats have it.
    """
    for key, value in options.items():
        owners = [each for each in FORMATS.values() if key in each.defaults]
        if chosen in owners:
            continue
        default = owners[0].defaults[key]
        plain = tuple(value) if is_list(value) else value
        if plain != default:
            names = comma_joined(each.name for each in owners)
            raise ValueError(
                f'{key}={value!r} has no meaning for metrics_format={chosen.name!r}; '
                f'leave it out (it belongs to {names})'
            )
