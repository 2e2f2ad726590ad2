"""Score predictions against the ground truth stored in the lake."""

from .metric import DeepLakeMetric
from .predictions import DeepLakePredictions

__all__ = ['DeepLakeMetric', 'DeepLakePredictions']
