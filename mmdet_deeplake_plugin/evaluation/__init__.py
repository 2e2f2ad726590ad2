"""Turn ground truth and predictions into numbers, equal to MMDetection's own metrics.

Pure: nothing here knows Deep Lake or MMDetection's sample dicts. Other people's packages
do the matching in ``backends``.
"""

from __future__ import annotations

from .coco import evaluate_coco
from .crowdhuman import evaluate_crowdhuman
from .federation import Federation, OpenImagesKeys
from .ground_truth import GroundTruth, Prediction
from .join import join_ground_truth
from .lvis import evaluate_lvis
from .openimages import evaluate_openimages
from .panoptic import PanopticPrediction, evaluate_panoptic
from .semseg import evaluate_semseg
from .verdicts.errors import ERRORS
from .verdicts.judge import (
    COUNTS,
    FATES,
    IOU_TYPES,
    SCORES,
    VERDICTS,
    Judgement,
    Rules,
    judge_image,
    scores_of,
)
from .verdicts.segments import judge_segments
from .voc import evaluate_voc

__all__ = [
    'COUNTS',
    'ERRORS',
    'FATES',
    'IOU_TYPES',
    'SCORES',
    'VERDICTS',
    'Federation',
    'GroundTruth',
    'Judgement',
    'OpenImagesKeys',
    'PanopticPrediction',
    'Prediction',
    'Rules',
    'evaluate_coco',
    'evaluate_crowdhuman',
    'evaluate_lvis',
    'evaluate_openimages',
    'evaluate_panoptic',
    'evaluate_semseg',
    'evaluate_voc',
    'join_ground_truth',
    'judge_image',
    'judge_segments',
    'scores_of',
]
