"""Opt-in hooks: check classes, resume in mid-epoch, report, list skipped images."""

from .class_check import DeepLakeClassCheckHook
from .report import DeepLakeReportHook
from .resume import DeepLakeResumeHook
from .skipped_images import DeepLakeSkippedImagesHook

__all__ = [
    'DeepLakeClassCheckHook',
    'DeepLakeReportHook',
    'DeepLakeResumeHook',
    'DeepLakeSkippedImagesHook',
]
