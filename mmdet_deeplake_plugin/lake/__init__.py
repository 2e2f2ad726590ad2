"""The only package that uses Deep Lake; other packages import from here, not below."""

from .backend import DeepLakeBackend, register
from .branch import check_name
from .branch_differences import BranchDifference, compare_branches
from .coco_columns import CocoColumns, lost_in_conversion
from .columns import names
from .columns.annotations import AnnotationTable
from .columns.mapping import check_roles, check_style
from .columns.texts import TextColumn
from .connection.opening import metadata_of
from .connection.retry import LakeReadError
from .connection.source import LakeSource
from .connection.spec import LakeSpec, ReadTimeouts
from .corrections import CorrectedRow, CorrectionBranch
from .images.chunk_cache import ChunkCache
from .images.column import ImageColumn
from .images.read_plan import ReadPlan
from .images.reader import ImageReader
from .images.worker_plan import WorkerPlan
from .lake import Lake, find_lake
from .open import open_columns, open_lake, open_object, open_source
from .paths import PREFIX, blank_size
from .prediction_draft import PredictionColumn
from .predictions import (
    PredictionBranch,
    PredictionWrite,
    check_prediction_name,
    write_predictions,
)
from .saved_views import NewView
from .stored_predictions import StoredPredictions, prediction_names
from .writer import LakeLayout, check_dest, write_lake

__all__ = [
    'PREFIX',
    'AnnotationTable',
    'BranchDifference',
    'ChunkCache',
    'CocoColumns',
    'CorrectedRow',
    'CorrectionBranch',
    'DeepLakeBackend',
    'ImageColumn',
    'ImageReader',
    'Lake',
    'LakeLayout',
    'LakeReadError',
    'LakeSource',
    'LakeSpec',
    'NewView',
    'PredictionBranch',
    'PredictionColumn',
    'PredictionWrite',
    'ReadPlan',
    'ReadTimeouts',
    'StoredPredictions',
    'TextColumn',
    'WorkerPlan',
    'blank_size',
    'check_dest',
    'check_name',
    'check_prediction_name',
    'check_roles',
    'check_style',
    'compare_branches',
    'find_lake',
    'lost_in_conversion',
    'metadata_of',
    'names',
    'open_columns',
    'open_lake',
    'open_object',
    'open_source',
    'prediction_names',
    'register',
    'write_lake',
    'write_predictions',
]
