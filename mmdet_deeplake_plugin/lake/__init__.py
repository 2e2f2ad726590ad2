"""The only room that imports Deep Lake."""

from .backend import DeepLakeBackend, register
from .chunk_cache import ChunkCache
from .columns import map_columns
from .errors import nearest
from .images import ImageReader
from .lake import Lake, find_lake, open_lake
from .meter import Meter
from .objects import resolve_object
from .pin import on_main_rank, resolve
from .plan import Expected, ReadPlan
from .source import LakeSource
from .spec import LakeSpec

__all__ = [
    'ChunkCache',
    'DeepLakeBackend',
    'Expected',
    'ImageReader',
    'Lake',
    'LakeSource',
    'LakeSpec',
    'Meter',
    'ReadPlan',
    'find_lake',
    'map_columns',
    'nearest',
    'on_main_rank',
    'open_lake',
    'register',
    'resolve',
    'resolve_object',
]
