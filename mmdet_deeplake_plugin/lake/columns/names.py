"""Names of the columns and metadata that the converters write."""

from __future__ import annotations

# Columns of every lake that a converter writes; SEG_MAP only if there are maps.
IMAGES = 'images'
BOXES = 'boxes'
CATEGORIES = 'categories'
IMAGE_ID = 'image_id'
FILE_NAME = 'file_name'
WIDTH = 'width'
HEIGHT = 'height'
SEG_MAP = 'seg_map'

# Columns with one number per box: of COCO, its panoptic files, VOC and CrowdHuman.
ISCROWD = 'iscrowd'
AREA = 'area'
IGNORE = 'ignore'
ANN_ID = 'ann_id'
ANN_POSITION = 'ann_position'  # in the file, if that is not grouped by image
SEGMENT_ID = 'segment_id'
DIFFICULT = 'difficult'
HEAD_IGNORE = 'head_ignore'

# Columns of videos: one number per image, one per box.
VIDEO_ID = 'video_id'
FRAME_ID = 'frame_id'
INSTANCE_ID = 'instance_id'
TRACK_NUMBERS = {
    INSTANCE_ID: 'int64',
    'mot_instance_id': 'int64',  # in MOT's own files, where each video begins anew
    'mot_conf': 'float64',
    'visibility': 'float64',
}
PERSON_ID = 'person_id'  # of re-identification

# Columns with one list per image: verified labels of OpenImages.
IMAGE_LABELS = 'image_level_labels'
CONFIDENCES = 'confidences'

# Columns with a further box for each box.
HEAD_BOXES = 'head_boxes'
VISIBLE_BOXES = 'visible_boxes'

# Columns with one text per image.
SEGMENTATION = 'segmentation'
COCO_IMAGE = 'coco_image'  # JSON of the further keys of an image
COCO_ANNOTATION = 'coco_annotation'  # JSON of the further keys of a panoptic entry
CAPTIONS = 'captions'
TEXT = 'text'  # which contains the phrases
PHRASES = 'phrases'  # JSON: phrases of the text and their boxes
GROUNDING = 'grounding'  # JSON: further keys of the sample

# Metadata, with the column that owns it.
CONVERTER = 'converter'  # the lake itself
ANNOTATION_STYLE = 'annotation_style'  # BOXES
CLASS_NAMES = 'class_names'  # CATEGORIES, SEG_MAP
CATEGORY_IDS = 'category_ids'  # CATEGORIES
CATEGORIES_JSON = 'categories'  # CATEGORIES
ISTHING = 'isthing'  # CATEGORIES
COCO_FILE = 'coco_file'  # IMAGES, CAPTIONS: JSON of the further keys of the file
CONTENT = 'content'  # CAPTIONS: COCO_CAPTIONS
HIERARCHY = 'hierarchy'  # CATEGORIES: JSON, for each label all that it implies
COCO_CAPTIONS = 'coco_captions'  # several captions per image

# Metadata of columns of predictions.
PREDICTIONS = 'predictions'  # the name that they were written under
PROVENANCE = 'provenance'  # of the boxes: JSON

# What LVIS adds to an image (in COCO_IMAGE) and to a category (in CATEGORIES_JSON).
LVIS_IMAGE_KEYS = ('neg_category_ids', 'not_exhaustive_category_ids')
LVIS_FREQUENCY = 'frequency'
