"""Samplers: choose the next sample of each rank."""

from .batch_sampler import DeepLakeAspectRatioBatchSampler
from .loader import DeepLakeLoader

__all__ = ['DeepLakeAspectRatioBatchSampler', 'DeepLakeLoader']
