"""Opt-in hooks: classes, losses, order, resume in mid-epoch, report, skipped images."""

from .class_check import DeepLakeClassCheckHook
from .loss import DeepLakeLossHook
from .order import DeepLakeOrderHook
from .report import DeepLakeReportHook
from .resume import DeepLakeResumeHook
from .skipped_images import DeepLakeSkippedImagesHook

__all__ = [
    'DeepLakeClassCheckHook',
    'DeepLakeLossHook',
    'DeepLakeOrderHook',
    'DeepLakeReportHook',
    'DeepLakeResumeHook',
    'DeepLakeSkippedImagesHook',
]
