"""The only room that imports Deep Lake."""

from .backend import DeepLakeBackend, register
from .chunk_cache import ChunkCache
from .columns import map_columns
from .errors import nearest
from .image_check import BrokenImageError
from .images import ImageReader
from .lake import REMEDY, Lake, blank_size, find_lake, open_lake
from .meter import Meter
from .objects import resolve_object
from .patience import LakeReadError, Patience
from .pin import on_main_rank, resolve
from .plan import Expected, ReadPlan
from .source import LakeSource
from .spec import LakeSpec

__all__ = [
    'REMEDY',
    'BrokenImageError',
    'ChunkCache',
    'DeepLakeBackend',
    'Expected',
    'ImageReader',
    'Lake',
    'LakeReadError',
    'LakeSource',
    'LakeSpec',
    'Meter',
    'Patience',
    'ReadPlan',
    'blank_size',
    'find_lake',
    'map_columns',
    'nearest',
    'on_main_rank',
    'open_lake',
    'register',
    'resolve',
    'resolve_object',
]
