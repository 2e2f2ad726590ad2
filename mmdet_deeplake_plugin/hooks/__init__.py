"""Opt-in hooks: resuming in the middle of an epoch, and a report of each epoch."""

from .report import DeepLakeReportHook
from .resume import DeepLakeResumeHook

__all__ = ['DeepLakeReportHook', 'DeepLakeResumeHook']
