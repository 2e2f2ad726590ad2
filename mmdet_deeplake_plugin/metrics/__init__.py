"""Score predictions against the ground truth stored in the lake."""

from .metric import DeepLakeMetric

__all__ = ['DeepLakeMetric']
