"""What MMDetection sees of a lake."""

from .dataset import DeepLakeDataset

__all__ = ['DeepLakeDataset']
