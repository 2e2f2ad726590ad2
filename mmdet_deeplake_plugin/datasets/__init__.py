"""Show lakes to MMDetection as datasets."""

from .dataset import DeepLakeDataset

__all__ = ['DeepLakeDataset']
