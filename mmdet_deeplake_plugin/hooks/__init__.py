"""Opt-in hooks: resuming in mid-epoch, a report of each epoch, a list of skipped rows."""

from .report import DeepLakeReportHook
from .resume import DeepLakeResumeHook
from .skipped_images import DeepLakeSkippedImagesHook

__all__ = ['DeepLakeReportHook', 'DeepLakeResumeHook', 'DeepLakeSkippedImagesHook']
