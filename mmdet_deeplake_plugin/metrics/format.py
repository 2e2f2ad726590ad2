"""Define what every value of ``metrics_format`` has to provide.

A new format is a subclass of :class:`MetricFormat` in a file of its own, and an entry in
``FORMATS`` of ``formats/registry.py``. It may call a metric of MMDetection itself, as
``ReidFormat`` does; ``InstanceFormat`` reads the ground truth for a function ``score``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from ..evaluation.groups.jobs import Spread, one_by_one
from ..lake import Lake, find_lake
from ..utils.messages import comma_joined, did_you_mean
from ..utils.values import is_list
from .options import check_metric_items


class MetricFormat(ABC):
    """One value of ``metrics_format``: its options, what it keeps, how it scores.

    Args:
        metric: The key ``metric`` of ``DeepLakeMetric``; ``None`` for the first of
            ``known_metrics``, or all, see ``takes_all``.
        options: Options of ``DeepLakeMetric`` by name. The format takes those that
            ``defaults`` lists, and ignores the others.

    Attributes:
        name: The value of ``metrics_format``.
        prefix: Default prefix of the reported names, that of the stock metric.
        known_metrics: Allowed values of ``metric``.
        takes_several: Whether ``metric`` may be a list of several.
        takes_all: Whether all of ``known_metrics`` are the default, not the first alone.
        defaults: The options of this format and their defaults. They are keys of
            ``DeepLakeMetric``, with the same defaults.
        known_items: Allowed values of the option ``metric_items``.
        destination: Option that says where results are written, and what it holds.
        results_class: What the results of a rank are appended to.
        shares_work: Whether ranks can share the evaluation.
        of_videos: Whether samples are videos, or frames of these.

    Raises:
        ValueError: If a metric is unknown, or if the options do not work.
    """

    name: ClassVar[str]
    prefix: ClassVar[str | None] = None
    known_metrics: ClassVar[tuple[str, ...]]
    takes_several: ClassVar[bool] = True
    takes_all: ClassVar[bool] = False
    defaults: ClassVar[Mapping[str, Any]]
    known_items: ClassVar[Sequence[str]] = ()
    destination: ClassVar[tuple[str, str]] = (
        'outfile_prefix',
        'path prefix of the JSON files',
    )
    results_class: ClassVar[Callable[[], Any]] = list
    shares_work: ClassVar[bool] = False
    of_videos: ClassVar[bool] = False

    def __init__(
        self, metric: str | Sequence[str] | None, options: Mapping[str, Any]
    ) -> None:
        self.metrics = self._check_metrics(metric)
        self.options = {key: options[key] for key in self.defaults}
        self.check_options()

    def check_options(self) -> None:
        """Refuse options that do not work, before the first epoch.

        Raises:
            ValueError: If ``format_only`` is set without a destination, or an item of
                ``metric_items`` is unknown.
            ImportError: If a package is needed, but not installed.
        """
        check_metric_items(self.options.get('metric_items'), self.known_items)
        self.check_package()
        key, content = self.destination
        if self.options.get('format_only') and self.options[key] is None:
            raise ValueError(
                'format_only=True only writes the results, which needs '
                f'{key}, but it is not set; set {key} to the {content}'
            )

    @staticmethod
    def check_package() -> Any:
        """Look for the package that the format needs, if there is one."""
        return None

    def images_of(self, sample: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        """Return the images of a prediction as the model makes it."""
        return [sample]

    @abstractmethod
    def collect(self, sample: Mapping[str, Any], meta: Mapping[str, Any]) -> Any:
        """Reduce a data sample to what :meth:`evaluate` needs of it.

        This runs on the rank that made the prediction; what it returns travels to the
        main rank.

        Args:
            sample: A prediction with ``img_path``.
            meta: ``metainfo`` of the dataset.
        """

    @abstractmethod
    def evaluate(
        self,
        rows_of: Mapping[Lake, Sequence[int]],
        collected: Sequence[Any],
        meta: Mapping[str, Any],
        spread: Spread = one_by_one,
    ) -> dict[str, float]:
        """Score the predictions of all ranks.

        Args:
            rows_of: Row numbers of the predicted images by lake, each once.
            collected: What :meth:`collect` returned, one per image, in the order of
                ``rows_of``.
            meta: ``metainfo`` of the dataset.
            spread: Runs the jobs of formats that share their work.

        Returns:
            Numbers by name, the most important first; empty with ``format_only``.
        """

    def _check_metrics(self, metric: str | Sequence[str] | None) -> list[str]:
        known = self.known_metrics
        usual = known if self.takes_all else known[0]
        given: Any = usual if metric is None else metric
        metrics: list[str] = list(given) if is_list(given) else [given]
        unknown = [name for name in metrics if name not in known]
        if unknown or not metrics or (len(metrics) > 1 and not self.takes_several):
            hint = did_you_mean(unknown[0], known) if unknown else ''
            raise ValueError(
                f'`metric` of metrics_format={self.name!r} must be one '
                f'{"or more " if self.takes_several else ""}of {comma_joined(known)}, '
                f'got {metric!r}{hint}; write metric={known[0]!r}'
            )
        return metrics


def path_of(sample: Mapping[str, Any]) -> str:
    """Return the path of a predicted image.

    Raises:
        KeyError: If it has none, or is that of a video.
    """
    if 'video_data_samples' in sample:
        raise KeyError(
            "a prediction is that of a video; write metrics_format='MOT', "
            "'YouTubeVIS' or 'CocoVideo' of DeepLakeMetric (DeepLakePredictions takes "
            'images alone)'
        )
    if 'img_path' not in sample:
        raise KeyError(
            "a prediction has no 'img_path', which identifies its lake and row; "
            'keep img_path in the meta_keys of PackDetInputs'
        )
    return sample['img_path']


def rows_of_paths(paths: Iterable[str]) -> dict[Lake, dict[int, int]]:
    """Return the rows of predicted images by lake, and which of the paths each has.

    Of images that are repeated, as ranks are padded with some, the last one counts.

    Raises:
        ValueError: If a row contains another image than when it was predicted.
        KeyError: If a lake is not open in this process.
    """
    by_lake: dict[Lake, dict[int, int]] = {}
    names: dict[Lake, dict[int, str]] = {}
    for number, path in enumerate(paths):
        lake, row = find_lake(path)
        by_lake.setdefault(lake, {})[row] = number
        names.setdefault(lake, {})[row] = path.rpartition('/')[2]
    for lake, name_of in names.items():
        lake.check_names(name_of)
    return by_lake
