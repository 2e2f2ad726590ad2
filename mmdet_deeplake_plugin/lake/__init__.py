"""The only package that uses Deep Lake; other packages import from here, not below."""

from ..utils.counters import ReadCounters
from ..utils.messages import did_you_mean
from .backend import DeepLakeBackend, register
from .coco_columns import CocoColumns, lost_in_conversion
from .columns.annotations import AnnotationTable
from .columns.mapping import metadata_of
from .columns.texts import TextColumn
from .connection.retry import LakeReadError
from .connection.source import LakeSource
from .connection.spec import LakeSpec, ReadTimeouts
from .images.chunk_cache import ChunkCache
from .images.column import ImageColumn
from .images.read_plan import Expected, ReadPlan
from .images.reader import ImageReader
from .lake import Lake, find_lake
from .open import open_columns, open_lake, open_object, open_source
from .paths import blank_size

__all__ = [
    'AnnotationTable',
    'ChunkCache',
    'CocoColumns',
    'DeepLakeBackend',
    'Expected',
    'ImageColumn',
    'ImageReader',
    'Lake',
    'LakeReadError',
    'LakeSource',
    'LakeSpec',
    'ReadCounters',
    'ReadPlan',
    'ReadTimeouts',
    'TextColumn',
    'blank_size',
    'did_you_mean',
    'find_lake',
    'lost_in_conversion',
    'metadata_of',
    'open_columns',
    'open_lake',
    'open_object',
    'open_source',
    'register',
]
