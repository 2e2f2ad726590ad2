"""Which lake the config asks for, in which state, and how long reads of it may take."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from .credentials import Credentials

_LOCAL = ('file', 'mem')
_FROM = re.compile(r'\bFROM\s+(?:"([^"]+)"|\'([^\']+)\')', re.IGNORECASE)


@dataclass(frozen=True)
class ReadTimeouts:
    """How long reads of a lake on object storage may take.

    Args:
        read_timeout: Seconds that one attempt may take.
        retry_timeout: Seconds that all attempts of a read may take together.
    """

    read_timeout: float = 60.0
    retry_timeout: float = 300.0


@dataclass(frozen=True)
class Pin:
    """One state of one lake.

    Args:
        branch: Name of the branch, ``''`` for a lake in the v3 format.
        version: Version id on the branch; v3: what stands behind ``@``.
        tag: Name of the saved view that ``rows`` count in, ``''`` for the lake.
        is_v3: Whether the lake is in the format of Deep Lake 3.
        num_rows: Number of rows of that state.
        tag_id: Id of the saved view; another view of the same name has another.
    """

    branch: str
    version: str
    tag: str
    is_v3: bool
    num_rows: int
    tag_id: str = ''


@dataclass(frozen=True)
class LakeSpec:
    """Which lake, and which rows of it: picklable, prints no secret.

    Args:
        path: Local folder (absolute), ``file://``, ``mem://`` or a URL, without
            suffix.
        suffix: What stood behind ``@`` in the path: a branch or a tag.
        commit_id: Version id on the branch, ``''`` for the newest.
        view_id: Name of a tag (a saved view), ``''`` for none.
        query: TQL without its FROM clause, ``''`` for all rows.
        credentials: References to the secrets that open it.
        timeouts: How long reads may take.
    """

    path: str
    suffix: str = ''
    commit_id: str = ''
    view_id: str = ''
    query: str = ''
    credentials: Credentials = field(default_factory=Credentials)
    timeouts: ReadTimeouts = field(default_factory=ReadTimeouts)

    @classmethod
    def from_config(
        cls,
        path: Any = '',
        credentials: Any = None,
        commit_id: Any = '',
        view_id: Any = '',
        query: Any = '',
        timeouts: ReadTimeouts | None = None,
    ) -> LakeSpec:
        """Checks the ``deeplake_*`` keys of a config that name a lake.

        Args:
            path: ``deeplake_path``; may be left out if ``query`` has a FROM clause.
            credentials: ``deeplake_credentials``.
            commit_id: ``deeplake_commit_id``.
            view_id: ``deeplake_view_id``.
            query: ``deeplake_query``.
            timeouts: How long reads may take.

        Raises:
            TypeError: If one of them is no string.
            ValueError: If no lake is named, or two.
        """
        for key, value in (
            ('deeplake_path', path),
            ('deeplake_commit_id', commit_id),
            ('deeplake_view_id', view_id),
            ('deeplake_query', query),
        ):
            if value is not None and not isinstance(value, str):
                raise TypeError(
                    f'{key} is {value!r}, a {type(value).__name__}; write a string, '
                    f'{str(value)!r}'
                )
        query, named = split_from(query or '')
        path = path or ''
        if named and path and normalise_path(named) != normalise_path(path):
            raise ValueError(
                f'deeplake_query reads FROM {named!r}, but deeplake_path is {path!r}; '
                'keep one of the two'
            )
        path = path or named
        if not path:
            raise ValueError(
                'no lake is named: write deeplake_path (a local folder, s3://…, '
                'al://org/name), a deeplake_query with a FROM "path" clause, or, in '
                'Python, dataset='
            )
        path, suffix = split_suffix(normalise_path(path))
        if suffix and view_id:
            raise ValueError(
                f'deeplake_path ends in @{suffix} and deeplake_view_id is {view_id!r}; '
                'keep one of the two'
            )
        return cls(
            path=path,
            suffix=suffix,
            commit_id=commit_id or '',
            view_id=view_id or '',
            query=query,
            credentials=Credentials.from_config(credentials),
            timeouts=timeouts or ReadTimeouts(),
        )

    @property
    def is_remote(self) -> bool:
        """Whether reading goes over a network."""
        scheme, mark, _ = self.path.partition('://')
        return bool(mark) and scheme not in _LOCAL

    @property
    def url(self) -> str:
        """Path with its suffix, as Deep Lake takes it."""
        return f'{self.path}@{self.suffix}' if self.suffix else self.path


def normalise_path(path: str) -> str:
    """Makes a local path absolute, so that a process elsewhere finds the same lake."""
    if path.startswith('file://'):
        path = path[len('file://') :]
    if '://' in path:
        return path.rstrip('/')
    return os.path.abspath(os.path.expanduser(path))


def split_suffix(path: str) -> tuple[str, str]:
    """Parts ``path@branch`` or ``path@tag``.

    Raises:
        ValueError: If there is an ``@`` elsewhere in the path, where Deep Lake
            would cut it.
    """
    head, _, tail = path.partition('@')
    if '@' in tail or '/' in tail:
        raise ValueError(
            f'deeplake_path={path!r}: Deep Lake takes what follows the first @ for a '
            'branch or tag, so no folder of the path may have an @ in its name; rename '
            'it, or use a symbolic link'
        )
    return head, tail


def split_from(query: str) -> tuple[str, str]:
    """Takes the FROM clause out of a query.

    Args:
        query: TQL, possibly with ``FROM "path"``.

    Returns:
        The query without the clause, and the path (``''`` if there was none).

    Raises:
        ValueError: If it reads from more than one lake.
    """
    query = query.strip()
    found = list(_FROM.finditer(query))
    if len(found) > 1:
        raise ValueError(
            f'deeplake_query reads from {len(found)} lakes; a dataset shows the rows '
            'of one: write one DeepLakeDataset each and join them by ConcatDataset'
        )
    if not found:
        return query, ''
    match = found[0]
    rest = f'{query[: match.start()].rstrip()} {query[match.end() :].lstrip()}'.strip()
    return rest, match.group(1) or match.group(2)
