"""How much the benchmarks measure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Sizes of the data.

    Args:
        photographs: Images of the throughput benchmarks.
        evaluated: Images of the evaluation benchmark.
        rows: Numbers of images of the start-up benchmark.
    """

    photographs: int
    evaluated: int
    rows: tuple[int, ...]


def sizes(quick: bool) -> Sizes:
    """The sizes that are measured, or tiny ones.

    Args:
        quick: Whether it is only to be seen that everything runs.
    """
    if quick:
        return Sizes(96, 60, (2_000,))
    return Sizes(3_000, 5_000, (118_000, 1_200_000))
