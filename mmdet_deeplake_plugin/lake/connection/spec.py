"""The lake of a config, its pinned state, and the timeouts of its reads."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from ...utils.values import check_text
from .credentials import Credentials

_LOCAL = ('file', 'mem')
AZURE = ('az', 'azure')
BUCKETS = ('s3', 'gcs', 'gs', 'gcp', *AZURE)  # object storage of one's own
_FROM = re.compile(r'\bFROM\s+(?:"([^"]+)"|\'([^\']+)\')', re.IGNORECASE)


@dataclass(frozen=True)
class ReadTimeouts:
    """Timeouts of reads from object storage.

    Args:
        read_timeout: Seconds per attempt.
        retry_timeout: Seconds for all attempts of one read together.
        open_timeout: Seconds for all attempts to open a lake when a run begins.
    """

    read_timeout: float = 60.0
    retry_timeout: float = 300.0
    open_timeout: float = 60.0


@dataclass(frozen=True)
class Pin:
    """One state of a lake.

    Args:
        branch: Name of the branch, ``''`` for a lake in the v3 format.
        version: Version id on the branch; for v3 what follows ``@`` in the path.
        tag: Name of the saved view that rows are numbered in, ``''`` for the lake itself.
        is_v3: Whether the lake is in the format of Deep Lake 3.
        num_rows: Number of rows in this state.
        tag_id: Id of the saved view, which differs from that of a later view with the
            same name.
        lake_id: Id of the lake, which differs from that of a lake that is written anew
            at the same path; ``''`` for v3. It is not part of the ``repr``, see
            :attr:`.Lake.former_key`.
    """

    branch: str
    version: str
    tag: str
    is_v3: bool
    num_rows: int
    tag_id: str = ''
    lake_id: str = field(default='', repr=False)


@dataclass(frozen=True)
class LakeSpec:
    """A lake and a selection of its rows; picklable, and its repr hides secrets.

    Args:
        path: Absolute path of a local folder, ``mem://`` or a URL, without suffix.
        suffix: What followed ``@`` in the path: a branch or a tag.
        commit_id: Version id on the branch, ``''`` for the newest.
        view_id: Name of a tag (a saved view), ``''`` for none.
        query: TQL without its FROM clause, ``''`` for all rows.
        credentials: The secrets of the lake, or references to them.
        timeouts: The timeouts of reads.
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
        """Validate the ``deeplake_*`` keys of a config that name a lake.

        The path is optional if the query has a FROM clause.

        Raises:
            TypeError: If a key is not a string.
            ValueError: If the keys name no lake, or contradict each other.
        """
        for key, value in (
            ('deeplake_path', path),
            ('deeplake_commit_id', commit_id),
            ('deeplake_view_id', view_id),
            ('deeplake_query', query),
        ):
            check_text(key, value)
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
                'the config must name a lake, got no path: write deeplake_path (a local '
                'folder, s3://…, al://org/name), a deeplake_query with a FROM "path" '
                'clause, or pass dataset= in Python'
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
        """Whether the lake is read over a network."""
        scheme, mark, _ = self.path.partition('://')
        return bool(mark) and scheme not in _LOCAL

    @property
    def endpoint(self) -> str:
        """URL that Deep Lake asks for a lake on S3, Google or Azure, else ``''``."""
        scheme, _, rest = self.path.partition('://')
        creds = self.credentials.resolve().get('creds') or {}
        if scheme in AZURE:
            url = f'https://{rest.partition("/")[0]}.blob.core.windows.net'
            return str(creds.get('blob_endpoint') or url)
        if scheme == 's3':
            given = creds.get('endpoint_url') or os.environ.get('AWS_ENDPOINT_URL')
            return str(given or 'https://s3.amazonaws.com')
        if scheme in BUCKETS:
            given = os.environ.get('CLOUD_STORAGE_EMULATOR_ENDPOINT')
            return given or 'https://storage.googleapis.com'
        return ''

    @property
    def address(self) -> str:
        """Path by which Deep Lake opens the lake, see :func:`address_of`."""
        return address_of(self.path)

    @property
    def url(self) -> str:
        """Path with its suffix, for messages."""
        return f'{self.path}@{self.suffix}' if self.suffix else self.path


def normalise_path(path: str) -> str:
    """Make a local path absolute, so that it works from any working directory."""
    if path.startswith('file://'):
        path = path[len('file://') :]
    if '://' in path:
        return path.rstrip('/')
    return os.path.abspath(os.path.expanduser(path))


def split_suffix(path: str) -> tuple[str, str]:
    """Split ``path@branch`` or ``path@tag`` at the ``@``.

    A branch may have slashes, as ``runs/NAME``. In a local path, where a folder may have
    an ``@`` too, what stands before the branch must exist, and the whole must not.

    Raises:
        ValueError: If the path has several ``@`` after its last folder, or an ``@`` in
            the bucket of a URL, where Deep Lake would split it.

    Returns:
        The path and the suffix (``''`` without ``@``).
    """
    is_local = '://' not in path
    folder, slash, name = path.rpartition('/') if is_local else ('', '', path)
    if is_local and '@' in folder and '@' not in name and not os.path.exists(path):
        lake, _, branch = path.rpartition('@')
        if os.path.isdir(lake):
            return lake, branch
    head, _, tail = name.partition('@')
    in_bucket = '/' in tail and '/' not in head.partition('://')[2]
    if '@' in tail or in_bucket:
        raise ValueError(
            f'deeplake_path={path!r}: Deep Lake takes what follows the first @ for a '
            'branch or tag; rename what has an @ in its name'
        )
    return folder + slash + head, tail


def address_of(path: str) -> str:
    """Return a path by which Deep Lake finds the lake at an absolute path or URL.

    It takes what follows the first ``@`` for a branch or tag, so below a folder with an
    ``@`` it finds a lake only by a relative path.

    Raises:
        ValueError: If the path from the working folder has an ``@`` too.
    """
    if '@' not in path or '://' in path:
        return path
    relative = os.path.relpath(path)
    if '@' in relative:
        raise ValueError(
            f'{path!r} has a folder with an @ in its name, after which Deep Lake expects '
            'a branch or tag; start the program in or below that folder, rename the '
            'folder, or use a symbolic link'
        )
    return relative


def split_from(query: str) -> tuple[str, str]:
    """Return a query without its FROM clause, and the path in that, ``''`` without one.

    Raises:
        ValueError: If it reads from more than one lake.
    """
    query = query.strip()
    clauses = list(_FROM.finditer(query))
    if len(clauses) > 1:
        raise ValueError(
            f'deeplake_query must read from one lake, found {len(clauses)} FROM clauses; '
            'write one DeepLakeDataset per lake and join them with ConcatDataset'
        )
    if not clauses:
        return query, ''
    match = clauses[0]
    rest = f'{query[: match.start()].rstrip()} {query[match.end() :].lstrip()}'.strip()
    return rest, match.group(1) or match.group(2)
