"""Opt-in hooks: check classes, order, resume in mid-epoch, report, skipped images."""

from .class_check import DeepLakeClassCheckHook
from .order import DeepLakeOrderHook
from .report import DeepLakeReportHook
from .resume import DeepLakeResumeHook
from .skipped_images import DeepLakeSkippedImagesHook

__all__ = [
    'DeepLakeClassCheckHook',
    'DeepLakeOrderHook',
    'DeepLakeReportHook',
    'DeepLakeResumeHook',
    'DeepLakeSkippedImagesHook',
]
