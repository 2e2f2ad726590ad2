"""Which requests fail, and how: rules, and the dice that choose by them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from helpers.object_store.wire import ERRORS

# Kinds that leave the answer whole; any number of them add up.
LINE_KINDS = ('delay', 'slow')
# Kinds without an answer.
SILENT_KINDS = ('reset', 'hang')
# Kinds that end an answer in its body.
CUT_KINDS = ('reset-in-body', 'truncate', 'stall')
BODY_KINDS = (*CUT_KINDS, 'shorten')
KINDS = (*ERRORS, *LINE_KINDS, *SILENT_KINDS, *BODY_KINDS)

# Keys of a Deep Lake dataset's chunks: all but its log, where schema and versions are.
CHUNK_KEYS = r'^(?!.*/_deeplake_log/).+'


@dataclass(frozen=True)
class Fault:
    """A rule: what happens to which requests.

    ==================  ===========================================================
    kind                effect
    ==================  ===========================================================
    an S3 error code    that error, with its XML: ``InternalError`` (500),
                        ``SlowDown`` and ``ServiceUnavailable`` (503),
                        ``TooManyRequests`` (429), ``AccessDenied`` (403),
                        ``ExpiredToken`` (400), ``NoSuchKey`` (404), …: ``ERRORS``
    ``delay``           the answer starts ``seconds`` later
    ``slow``            the body is sent at ``bytes_per_second``
    ``reset``           the connection is reset before any answer
    ``hang``            nothing for ``seconds``, then a reset
    ``reset-in-body``   ``fraction`` of the body, then a reset
    ``truncate``        ``fraction`` of the body, then the connection ends; the
                        headers promise all of it
    ``shorten``         ``fraction`` of the body, and headers that agree with it
    ``stall``           ``fraction`` of the body, nothing for ``seconds``, a reset
    ==================  ===========================================================

    Attributes:
        kind: One of the above.
        share: Probability with which it strikes a request that it is about.
        every: It may strike only every so-manieth of them.
        limit: It strikes so many times at most; ``None`` is no limit.
        methods: HTTP methods that it is about, such as ``'GET'`` or ``'GET HEAD'``;
            empty means all, or ``GET`` where the kind is about the body.
        keys: Regular expression searched in the object's key; requests about a bucket,
            such as listings, have an empty one.
        seconds: Time of ``delay``, ``hang`` and ``stall``.
        bytes_per_second: Rate of ``slow``, by connection.
        fraction: Part of the body that is sent, 0 to 1.
        seed: Seed of the dice: the n-th request that the rule is about has the same
            fate in each run.

    Raises:
        ValueError: If a value makes no sense.
    """

    kind: str
    share: float = 1.0
    every: int = 1
    limit: int | None = None
    methods: str = ''
    keys: str = ''
    seconds: float = 0.0
    bytes_per_second: float = 0.0
    fraction: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f'kind={self.kind!r} is none of {", ".join(KINDS)}')
        if not 0 <= self.share <= 1 or not 0 <= self.fraction <= 1:
            raise ValueError(f'{self.kind}: share and fraction are between 0 and 1')
        if self.every < 1:
            raise ValueError(f'{self.kind}: every={self.every} is less than 1')
        if self.kind in ('delay', 'hang', 'stall') and self.seconds <= 0:
            raise ValueError(f'{self.kind}: say for how many seconds')
        if self.kind == 'slow' and self.bytes_per_second <= 0:
            raise ValueError('slow: say how many bytes_per_second')
        try:
            re.compile(self.keys)
        except re.error as error:
            raise ValueError(f'keys={self.keys!r} is no regular expression') from error

    def concerns(self, method: str, key: str) -> bool:
        """Whether the rule is about such a request."""
        methods = self.methods or ('GET' if self.kind in BODY_KINDS else '')
        return (not methods or method in methods.split()) and bool(
            re.search(self.keys, key)
        )


@dataclass
class Strike:
    """What happens to one request.

    Attributes:
        delay: Seconds before the answer.
        rate: Bytes per second of the body; ``None`` is no limit.
        fault: The fault that spoils the answer, if any.
    """

    delay: float = 0.0
    rate: float | None = None
    fault: Fault | None = None


class FaultPlan:
    """Applies rules to requests, in the order in which they come."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._rules = [_Rule(fault) for fault in faults]

    def strike(self, method: str, key: str) -> Strike:
        """Decides on the next request; of the faults that spoil it, the first wins."""
        strike = Strike()
        for rule in self._rules:
            fault = rule.fault
            spoils = fault.kind not in LINE_KINDS
            if (spoils and strike.fault) or not fault.concerns(method, key):
                continue
            if not rule.draw():
                continue
            if fault.kind == 'delay':
                strike.delay += fault.seconds
            elif fault.kind == 'slow':
                strike.rate = min(strike.rate or float('inf'), fault.bytes_per_second)
            else:
                strike.fault = fault
        return strike


class _Rule:
    """A fault with its dice and counters."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._dice = random.Random(fault.seed)
        self._asked = 0
        self._struck = 0

    def draw(self) -> bool:
        """Whether the next request that the fault is about is struck."""
        fault = self.fault
        self._asked += 1
        lucky = self._dice.random() >= fault.share or self._asked % fault.every
        if lucky or (fault.limit is not None and self._struck >= fault.limit):
            return False
        self._struck += 1
        return True
