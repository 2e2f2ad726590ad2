"""Show lakes to MMDetection as datasets."""

from .dataset import DeepLakeDataset
from .mixing.multi_image_mix import DeepLakeMultiImageMixDataset
from .tracking.reid_dataset import DeepLakeReIDDataset
from .tracking.video_dataset import DeepLakeVideoDataset

__all__ = [
    'DeepLakeDataset',
    'DeepLakeMultiImageMixDataset',
    'DeepLakeReIDDataset',
    'DeepLakeVideoDataset',
]
