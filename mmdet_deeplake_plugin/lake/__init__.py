"""The only room that imports Deep Lake."""

from ..structures.image_check import BrokenImageError
from ..utils.counters import ReadCounters
from ..utils.messages import did_you_mean
from .backend import DeepLakeBackend, register
from .columns.mapping import map_columns
from .connection.resolve import on_main_rank, resolve
from .connection.resolve_object import resolve_object
from .connection.retry import LakeReadError, ReadTimeouts
from .connection.source import LakeSource
from .connection.spec import LakeSpec
from .images.chunk_cache import ChunkCache
from .images.read_plan import ReadPlan
from .images.reader import ImageReader
from .lake import REMEDY, Lake, blank_size, find_lake, open_lake

__all__ = [
    'REMEDY',
    'BrokenImageError',
    'ChunkCache',
    'DeepLakeBackend',
    'ImageReader',
    'Lake',
    'LakeReadError',
    'LakeSource',
    'LakeSpec',
    'ReadCounters',
    'ReadPlan',
    'ReadTimeouts',
    'blank_size',
    'did_you_mean',
    'find_lake',
    'map_columns',
    'on_main_rank',
    'open_lake',
    'register',
    'resolve',
    'resolve_object',
]
