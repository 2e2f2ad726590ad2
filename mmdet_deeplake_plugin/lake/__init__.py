"""The only room that imports Deep Lake."""

from .backend import DeepLakeBackend, register
from .columns import map_columns
from .errors import nearest
from .lake import Lake, find_lake, open_lake
from .objects import resolve_object
from .pin import on_main_rank, resolve
from .source import LakeSource
from .spec import LakeSpec

__all__ = [
    'DeepLakeBackend',
    'Lake',
    'LakeSource',
    'LakeSpec',
    'find_lake',
    'map_columns',
    'nearest',
    'on_main_rank',
    'open_lake',
    'register',
    'resolve',
    'resolve_object',
]
