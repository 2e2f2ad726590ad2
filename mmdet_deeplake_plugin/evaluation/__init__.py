"""Ground truth + predictions to numbers, equal to MMDetection's own metrics.

Pure: nothing here knows Deep Lake or MMDetection's sample dicts.
"""

from __future__ import annotations

from .coco import evaluate_coco
from .federation import Federation
from .ground_truth import GroundTruth, Prediction
from .lvis import evaluate_lvis
from .voc import evaluate_voc

__all__ = [
    'Federation',
    'GroundTruth',
    'Prediction',
    'evaluate_coco',
    'evaluate_lvis',
    'evaluate_voc',
]
