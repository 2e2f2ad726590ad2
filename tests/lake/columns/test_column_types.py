"""Lakes that other tools wrote: without the optional columns, or of other types."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from helpers.lakes import CLASSES, COLUMNS, HEIGHT, TYPES, WIDTH, picture, row, write_lake
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset

register_all_modules()

BARE = {'image_id': None, 'file_name': None, 'width': None, 'height': None}
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]


def _infos(dataset: DeepLakeDataset) -> list[dict]:
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def _names(dataset: DeepLakeDataset) -> list[str]:
    return [info['img_path'].rpartition('/')[2] for info in _infos(dataset)]


def test_images_boxes_and_labels_are_enough(tmp_path):
    """Without further columns: row numbers as ids, sizes of the images, own names."""
    rows = [{**row(i), 'images': picture(i, 30 + i, 20 + i)} for i in range(4)]
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', rows, BARE), pipeline=LOAD)
    infos = _infos(dataset)
    assert [info['img_id'] for info in infos] == [0, 1, 2, 3]
    assert [(i['width'], i['height']) for i in infos] == [
        (30, 20),
        (31, 21),
        (32, 22),
        (33, 23),
    ]
    assert _names(dataset) == ['0.jpg', '1.jpg', '2.jpg', '3.jpg']
    for index in range(4):
        assert dataset[index]['inputs'].shape == (3, 20 + index, 30 + index)


def test_sizes_come_from_the_columns_where_there_are_some(tmp_path):
    """Stored width and height are taken, as CocoDataset takes its file's."""
    path = write_lake(tmp_path / 'lake', [{**row(0), 'width': 640, 'height': 480}])
    info = DeepLakeDataset(path).get_data_info(0)
    assert (info['width'], info['height']) == (640, 480)


def test_sizes_of_images_that_deep_lake_cannot_measure_come_from_decoding(tmp_path):
    """A WebP image, whose shape Deep Lake does not know, gets its decoded size."""
    webp = cv2.imencode('.webp', np.zeros((24, 36, 3), np.uint8))[1].tobytes()
    rows = [row(0), {**row(1), 'images': webp}]
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', rows, BARE))
    assert [(i['width'], i['height']) for i in _infos(dataset)] == [
        (WIDTH, HEIGHT),
        (36, 24),
    ]


@pytest.mark.parametrize(
    'query', ['', 'SELECT * WHERE image_id >= 2 ORDER BY image_id DESC']
)
def test_without_an_area_column_the_area_is_width_times_height(query, tmp_path):
    """Areas are those of the stored boxes, for training and for the metric."""
    rows = [row(i, [(1, 2, 3 + i, 7.5), (0, 0, 0.5, 9)]) for i in range(4)]
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', rows), deeplake_query=query)
    lake_rows = dataset.lake.annotations(np.array([3, 1]))
    assert lake_rows.areas.tolist() == [45.0, 4.5, 30.0, 4.5]
    assert all(len(info['instances']) == 1 for info in _infos(dataset))


def test_a_stored_area_of_zero_leaves_a_box_out(tmp_path):
    """An area column is believed: CocoDataset drops boxes whose area is not above 0."""
    values = {**row(0, [(1, 2, 9, 9), (3, 3, 9, 9)]), 'area': np.array([0.0, 81.0])}
    path = write_lake(tmp_path / 'lake', [values], {'area': TYPES['floats']})
    boxes = [i['bbox'] for i in DeepLakeDataset(path).get_data_info(0)['instances']]
    assert boxes == [[3, 3, 12, 12]]


def test_equal_file_names_in_different_folders_get_distinct_names(tmp_path):
    """Tools write one picture a name, so no two rows may share one."""
    rows = [{**row(i), 'file_name': f'{folder}/a.jpg'} for i, folder in enumerate('xy')]
    rows.append({**row(2), 'file_name': 'z\\b.png'})
    names = _names(DeepLakeDataset(write_lake(tmp_path / 'lake', rows)))
    assert len(set(names)) == 3
    assert [name[-5:] for name in names] == ['a.jpg', 'a.jpg', 'b.png']
    assert not any('/' in name or '\\' in name for name in names)


def test_distinct_file_names_stay_as_they_are(tmp_path):
    """Names that are distinct keep their file name, without folders."""
    rows = [{**row(i), 'file_name': f'deep/folder/{name}'} for i, name in enumerate('ab')]
    rows[1]['file_name'] += '.PNG'
    names = _names(DeepLakeDataset(write_lake(tmp_path / 'lake', rows)))
    assert names == ['a.jpg', 'b.PNG']


@pytest.mark.parametrize('nasty', ['0_a.jpg', '1_a.jpg'])
def test_names_stay_distinct_whatever_the_files_are_called(nasty, tmp_path):
    """A file that is called like a made name does not collide with it."""
    names = ['x/a.jpg', 'y/a.jpg', nasty]
    rows = [{**row(i), 'file_name': name} for i, name in enumerate(names)]
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', rows))
    assert len(set(_names(dataset))) == 3


def test_a_row_that_a_query_repeats_keeps_one_name(tmp_path):
    """SAMPLE BY may choose a row twice: the same path then names the same image."""
    path = write_lake(tmp_path / 'lake', [row(i) for i in range(3)])
    dataset = DeepLakeDataset(path, deeplake_query='SELECT * SAMPLE BY 1 LIMIT 40')
    paths = {}
    for info in _infos(dataset):
        assert paths.setdefault(info['img_id'], info['img_path']) == info['img_path']
    assert len(set(paths.values())) == len(paths) <= 3


def test_a_sequence_of_class_labels_is_a_label_column(tmp_path):
    """Labels as a Sequence of ClassLabel, also empty ones, are inferred and read."""
    rows = [
        row(0, [(1, 1, 9, 9)] * 3, [2, 0, 1]),
        row(1, []),
        row(2, [(1, 1, 9, 9)], [1]),
    ]
    for values in rows:
        values['categories'] = values['categories'].tolist()
    columns = {'categories': TYPES['label sequence']}
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', rows, columns))
    assert dataset.metainfo['classes'] == CLASSES
    assert [dataset.get_cat_ids(i) for i in range(3)] == [[2, 0, 1], [], [1]]


def test_a_sequence_column_is_read_in_the_order_of_a_query(tmp_path):
    """Rows of a query over a Sequence column keep their own labels."""
    rows = [{**row(i), 'categories': [i % 3]} for i in range(30)]
    columns = {'categories': TYPES['label sequence']}
    path = write_lake(tmp_path / 'lake', rows, columns)
    dataset = DeepLakeDataset(path, deeplake_query='SELECT * ORDER BY RANDOM()')
    for index, info in enumerate(_infos(dataset)):
        assert dataset.get_cat_ids(index) == [info['img_id'] % 3]


def test_a_scalar_label_column_labels_the_one_box_of_a_row(tmp_path):
    """One class number a row serves where every row has one box."""
    rows = [{**row(i), 'categories': i % 3} for i in range(4)]
    path = write_lake(tmp_path / 'lake', rows, {'categories': TYPES['label']})
    dataset = DeepLakeDataset(path)
    assert [dataset.get_cat_ids(i) for i in range(4)] == [[0], [1], [2], [0]]


@pytest.mark.parametrize('test_mode', [True, False])
def test_an_unlabelled_lake_is_read_when_both_roles_are_none(test_mode, tmp_path):
    """For inference: gt_bboxes=None and gt_labels=None need no annotation columns."""
    columns = {'boxes': None, 'categories': None}
    path = write_lake(tmp_path / 'lake', columns=columns)
    dataset = DeepLakeDataset(
        path,
        deeplake_tensors=dict(gt_bboxes=None, gt_labels=None),
        metainfo=dict(classes=('thing',)),
        pipeline=LOAD,
        test_mode=test_mode,
    )
    assert len(dataset) == 6
    assert [info['instances'] for info in _infos(dataset)] == [[]] * 6
    assert len(dataset[5]['data_samples'].gt_instances) == 0


def test_the_annotations_of_a_labelled_lake_can_be_left_aside(tmp_path):
    """Both roles None also hides annotations that are there."""
    dataset = DeepLakeDataset(
        write_lake(tmp_path / 'lake'),
        deeplake_tensors=dict(gt_bboxes=None, gt_labels=None),
        metainfo=dict(classes=('thing',)),
    )
    assert all(info['instances'] == [] for info in _infos(dataset))


def test_text_ids_stay_text(tmp_path):
    """Image ids may be strings, also ones that look like numbers, or not ASCII."""
    ids = ['007', 'bild-ü', '']
    rows = [{**row(i), 'image_id': name} for i, name in enumerate(ids)]
    path = write_lake(tmp_path / 'lake', rows, {'image_id': TYPES['text']})
    assert [info['img_id'] for info in _infos(DeepLakeDataset(path))] == ids


def test_a_query_gives_rows_in_its_order_with_their_own_annotations(tmp_path):
    """Ids, boxes, sizes and images follow the order that a query says."""
    rows = [
        {**row(i, [(i, 1, 5, 6)]), 'images': picture(i * 30, 30 + i)} for i in range(8)
    ]
    path = write_lake(tmp_path / 'lake', rows, {'width': None, 'height': None})
    query = 'SELECT * WHERE image_id % 2 == 1 ORDER BY image_id DESC'
    dataset = DeepLakeDataset(path, deeplake_query=query, pipeline=LOAD)
    infos = _infos(dataset)
    assert [info['img_id'] for info in infos] == [7, 5, 3, 1]
    assert [info['instances'][0]['bbox'][0] for info in infos] == [7, 5, 3, 1]
    assert [info['width'] for info in infos] == [37, 35, 33, 31]
    for index, number in enumerate((7, 5, 3, 1)):
        inputs = dataset[index]['inputs']
        assert inputs.shape == (3, HEIGHT, 30 + number)
        assert abs(inputs.float().mean() - 30 * number) < 2


def test_a_query_may_project_columns_away(tmp_path):
    """A SELECT of some columns only chooses rows: the rest of a sample is still there."""
    path = write_lake(tmp_path / 'lake')
    query = 'SELECT image_id WHERE image_id > 3'
    dataset = DeepLakeDataset(path, deeplake_query=query, pipeline=LOAD)
    assert [info['img_id'] for info in _infos(dataset)] == [4, 5]
    assert dataset[0]['inputs'].shape == (3, HEIGHT, WIDTH)


def test_columns_of_any_name_play_the_roles_that_the_config_gives(tmp_path):
    """deeplake_tensors names columns whose names and types say nothing."""
    rows = [
        {
            'photo': picture(9),
            'where': np.array([[1.0, 2, 11, 12]]),
            'what': np.array([1], np.int32),
            'hard': np.array([1], np.int32),
            'number': 77,
            'called': 'seven.jpg',
        }
    ]
    columns = {name: None for name in ('images', 'boxes', 'categories', *BARE)}
    columns.update(photo=TYPES['image'], where=TYPES['table'], what=TYPES['ints'])
    columns.update(hard=TYPES['ints'], number=TYPES['int'], called=TYPES['text'])
    dataset = DeepLakeDataset(
        write_lake(tmp_path / 'lake', rows, columns),
        deeplake_tensors=dict(
            img='photo',
            gt_bboxes='where',
            gt_labels='what',
            gt_ignore_flags='hard',
            img_id='number',
            file_name='called',
        ),
        box_format='xyxy',
        metainfo=dict(classes=('a', 'b')),
    )
    info = dataset.get_data_info(0)
    assert info['img_id'] == 77 and info['img_path'].endswith('/seven.jpg')
    assert info['instances'] == [
        {'ignore_flag': 1, 'bbox': [1.0, 2.0, 11.0, 12.0], 'bbox_label': 1}
    ]


def test_a_role_can_be_left_without_a_column(tmp_path):
    """img_id=None numbers the rows although there is a column of ids."""
    rows = [{**row(i), 'image_id': 50} for i in range(3)]
    dataset = DeepLakeDataset(
        write_lake(tmp_path / 'lake', rows), deeplake_tensors=dict(img_id=None)
    )
    assert [info['img_id'] for info in _infos(dataset)] == [0, 1, 2]


@pytest.mark.parametrize('column', ['width', 'image_id'])
def test_a_column_of_images_has_one_value_per_row(column, tmp_path):
    """Widths of boxes, say, are not the width of the image."""
    boxes = [(2, 2, 10, 12), (40, 20, 15, 15)]
    rows = [{**row(0, boxes), column: np.array([10, 15])}]
    path = write_lake(tmp_path / 'lake', rows, {column: TYPES['ints']})
    text = rf"column '{column}', row 0: there must be one value per row, got 2; name another"
    with pytest.raises(ValueError, match=text):
        DeepLakeDataset(path)


def test_head_boxes_are_not_taken_for_the_boxes(tmp_path):
    """The only column declared as boxes has the name of another role."""
    rows = [{**row(0), 'boxes': np.ones((1, 4)), 'head_boxes': np.ones((1, 4))}]
    types = {'boxes': TYPES['table'], 'head_boxes': COLUMNS['boxes']}
    path = write_lake(tmp_path / 'lake', rows, types)
    text = (
        r"deeplake_tensors\['gt_bboxes'\] is not set and only head_boxes, with the usual "
        'name of another role, is declared to hold boxes'
    )
    with pytest.raises(ValueError, match=text):
        DeepLakeDataset(path)
    tensors = dict(gt_bboxes='head_boxes')
    assert len(DeepLakeDataset(path, deeplake_tensors=tensors).get_data_info(0)['instances']) == 1
