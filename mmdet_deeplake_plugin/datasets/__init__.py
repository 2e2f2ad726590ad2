"""Show lakes to MMDetection as datasets."""

from .dataset import DeepLakeDataset
from .mixing.multi_image_mix import DeepLakeMultiImageMixDataset

__all__ = ['DeepLakeDataset', 'DeepLakeMultiImageMixDataset']
