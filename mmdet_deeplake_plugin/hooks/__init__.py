"""Opt-in hooks: resume in mid-epoch, report each epoch, list skipped images."""

from .report import DeepLakeReportHook
from .resume import DeepLakeResumeHook
from .skipped_images import DeepLakeSkippedImagesHook

__all__ = ['DeepLakeReportHook', 'DeepLakeResumeHook', 'DeepLakeSkippedImagesHook']
