"""``tools.triage``: what the page holds is what is stored, and mistakes are explained."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers import ROOT
from helpers.lakes import TYPES, append, branch, open_lake, picture, write_lake
from helpers.object_store import ObjectStore
from helpers.predictions import (
    CASES,
    CAT,
    DOG,
    polygons_of_cases,
    predict,
    predict_cases,
    rows_of_cases,
)
from helpers.triage_data import data_of

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.evaluation import COUNTS, ERRORS, VERDICTS
from mmdet_deeplake_plugin.tools import triage as triage_module
from mmdet_deeplake_plugin.tools.triage import main, triage
from mmdet_deeplake_plugin.tools.triage_page import folder as folder_module
from mmdet_deeplake_plugin.tools.triage_page.folder import page_files
from mmdet_deeplake_plugin.tools.triage_page.images import THUMB_SIDE
from mmdet_deeplake_plugin.tools.triage_page.run import PAGE_FATES

BRANCH = '@runs/a'


def _expected(name: str) -> list[int]:
    return [counts.get(name, 0) for _, counts in CASES]


def test_the_page_has_what_is_stored(path, tmp_path):
    """Boxes, scores, verdicts and numbers of every image, and all files."""
    text = triage(path + BRANCH, tmp_path / 'page', score_thr=0)
    assert text.startswith(f"wrote {len(CASES)} images with the predictions 'net' of lake")
    data, (run,) = data_of(tmp_path / 'page'), data_of(tmp_path / 'page')['runs']
    assert data['images']['row'] == list(range(len(CASES)))
    found = [boxes for boxes, _ in CASES]
    assert np.diff(run['offsets']).tolist() == [len(each) for each in found]
    flat = [each for boxes in found for each in boxes]
    assert np.array_equal(run['boxes'].reshape(-1, 4), np.float32([b for b, _, _ in flat]))
    assert np.array_equal(run['scores'], np.float32([s for _, s, _ in flat]))
    assert run['labels'].tolist() == [label for _, _, label in flat]
    for name in COUNTS:
        assert data['numbers'][name] == _expected(name), name
        if name in ERRORS:
            assert (run['errors'] == ERRORS.index(name)).sum() == sum(_expected(name))
    assert (run['fates'] == PAGE_FATES.index('missed')).sum() == sum(_expected('missed'))
    mistaken = sum(_expected('fn')) - sum(_expected('missed'))
    assert (run['fates'] == PAGE_FATES.index('mistaken')).sum() == mistaken > 0
    assert (run['verdicts'] == VERDICTS.index('right')).sum() == sum(_expected('tp')) + 1
    truth = data['annotations']['boxes'].reshape(-1, 4)
    assert np.array_equal(truth, np.float32([CAT, DOG] * len(CASES)))
    assert {'width', 'height', 'image_id'} < data['numbers'].keys()
    for row in range(len(CASES)):
        stored = (tmp_path / 'page' / 'images' / f'{row}.jpg').read_bytes()
        assert stored == picture(row)
        assert (tmp_path / 'page' / 'thumbs' / f'{row}.jpg').is_file()


def test_predictions_with_low_scores_are_left_out(path, tmp_path):
    """Of the page, not of its precision and recall, and their number is said."""
    triage(path + BRANCH, tmp_path / 'all', score_thr=0)
    triage(path + BRANCH, tmp_path / 'some', score_thr=0.75)
    whole, some = data_of(tmp_path / 'all'), data_of(tmp_path / 'some')
    scores = [score for boxes, _ in CASES for _, score, _ in boxes]
    assert len(some['runs'][0]['scores']) == sum(score >= 0.75 for score in scores)
    assert some['runs'][0]['leftOut'] == sum(score < 0.75 for score in scores)
    assert whole['curves'] == some['curves']


CHOICES: dict[str, tuple[dict[str, Any], list[int]]] = {
    'lowest f1': (dict(worst=2), [5, 4]),
    'most missed': (dict(worst=4, by='fn'), [1, 4, 5, 6]),
    'full name': (dict(worst=1, by='net/duplicate'), [2]),
    'fewest right': (dict(worst=1, by='tp'), [5]),
    'another column': (dict(worst=2, by='image_id'), [6, 5]),
    'query': (dict(query='SELECT * WHERE "net/background" > 0'), [3]),
    'in its order': (dict(query='SELECT * WHERE image_id < 3 ORDER BY image_id DESC'), [2, 1, 0]),
}


@pytest.mark.parametrize('choice', CHOICES)
def test_images_are_chosen_shown_and_saved(choice, path, tmp_path):
    """The page and the view have the same rows in the same order; training reads them."""
    keys, rows = CHOICES[choice]
    text = triage(path + BRANCH, tmp_path / 'page', tag='chosen', **keys)
    shown = data_of(tmp_path / 'page')['images']['row']
    assert sorted(shown) == sorted(rows) and (choice == 'most missed' or shown == rows)
    assert f"saved {len(rows)} rows as a view; write deeplake_path='{path}'" in text
    assert _ids_of_view(path, 'chosen') == shown
    view = DeepLakeDataset(path, deeplake_view_id='chosen')
    assert len(view.get_data_info(0)['instances']) == 2


@pytest.mark.parametrize(
    'query', ['SELECT * ORDER BY RANDOM() LIMIT 5', 'SELECT * SAMPLE BY 1 LIMIT 1']
)
def test_a_random_query_is_run_once(query, tmp_path):
    """What is saved is what the page shows, in its order."""
    path = write_lake(tmp_path / 'lake', rows_of_cases(40))
    predict_cases(path, 40)
    triage(path + BRANCH, tmp_path / 'page', query=query, tag='random')
    assert _ids_of_view(path, 'random') == data_of(tmp_path / 'page')['images']['row']


def test_the_view_has_the_rows_of_the_page(tmp_path):
    """Not those without predictions; without a page, all rows of the query."""
    path = write_lake(tmp_path / 'lake', rows_of_cases())
    predict_cases(path, 3)
    query = 'SELECT * WHERE image_id != 1 ORDER BY image_id DESC'
    text = triage(path + BRANCH, tmp_path / 'page', query=query, tag='shown')
    assert data_of(tmp_path / 'page')['images']['row'] == [2, 0]
    assert 'saved 2 rows as a view' in text and _ids_of_view(path, 'shown') == [2, 0]
    assert 'saved 6 rows as a view' in triage(path + BRANCH, query=query, tag='all')
    assert _ids_of_view(path, 'all') == [6, 5, 4, 3, 2, 0]


def test_a_view_is_of_what_the_page_read(path, tmp_path, monkeypatch):
    """Also where somebody writes to the branch while the page is written."""
    write = triage_module.write_page

    def write_and_predict(*args: Any) -> int:
        predict_cases(path, name='later')
        return write(*args)

    monkeypatch.setattr(triage_module, 'write_page', write_and_predict)
    triage(path + BRANCH, tmp_path / 'page', name='net', worst=2, tag='worst')
    assert data_of(tmp_path / 'page')['images']['row'] == [5, 4]
    assert _ids_of_view(path, 'worst') == [5, 4]


def _ids_of_view(path: str, name: str) -> list[int]:
    view = DeepLakeDataset(path, deeplake_view_id=name, test_mode=True)
    return [view.get_data_info(index)['img_id'] for index in range(len(view))]


def test_a_view_alone(path, capsys):
    """Without a page; the branch is otherwise as before."""
    before = open_lake(path + BRANCH, writable=False).version
    assert main([path + BRANCH, '--worst', '3', '--tag', 'worst']) == 0
    assert 'saved 3 rows as a view' in capsys.readouterr().out
    head = open_lake(path + BRANCH, writable=False)
    assert head.version == before and list(head.tags.names()) == ['worst']


def test_a_page_of_a_saved_view(path, tmp_path):
    """Its rows, in their order."""
    query = 'SELECT * WHERE image_id > 3 ORDER BY image_id DESC'
    triage(path + BRANCH, query=query, tag='late')
    triage(path, tmp_path / 'all', view_id='late')
    assert data_of(tmp_path / 'all')['images']['id'] == ['6', '5', '4']
    triage(path, tmp_path / 'one', view_id='late', worst=1)
    assert data_of(tmp_path / 'one')['images']['id'] == ['5']


def test_a_page_is_replaced_only_if_told(path, tmp_path):
    """And whole: what the old page had is gone."""
    out = tmp_path / 'page'
    triage(path + BRANCH, out)
    with pytest.raises(FileExistsError, match='has a page already; pass --overwrite'):
        triage(path + BRANCH, out)
    triage(path + BRANCH, out, worst=1, overwrite=True)
    assert [file.name for file in (out / 'images').iterdir()] == ['5.jpg']
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith('.')] == []


def test_nothing_is_half_written(path, tmp_path, monkeypatch):
    """A failure amid the images leaves the old page, and no folder beside it."""
    out = tmp_path / 'page'
    triage(path + BRANCH, out, worst=1)
    before = sorted(file.name for file in out.rglob('*'))
    whole = folder_module.thumbnail

    def fails(content: bytes) -> bytes | None:
        if content == picture(3):
            raise OSError('No space left on device')
        return whole(content)

    monkeypatch.setattr(folder_module, 'thumbnail', fails)
    for folder in (out, tmp_path / 'new'):
        with pytest.raises(OSError, match='No space left'):
            triage(path + BRANCH, folder, overwrite=True, tag=None)
    assert sorted(file.name for file in out.rglob('*')) == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ['lake', 'page']


def test_a_broken_image_has_its_numbers(tmp_path, capsys):
    """It is counted, and has no files."""
    rows = rows_of_cases(3)
    rows[1]['images'] = picture(1)[:60]
    path = write_lake(tmp_path / 'lake', rows)
    predict_cases(path, 3)
    assert main([path + BRANCH, '--out', str(tmp_path / 'page')]) == 0
    assert 'wrote 3 images (1 of them broken)' in capsys.readouterr().out
    images = data_of(tmp_path / 'page')['images']
    assert images['suffix'] == ['jpg', '', 'jpg'] and images['width'] == [64] * 3
    assert len(list((tmp_path / 'page' / 'thumbs').iterdir())) == 2


def test_large_images_shrink_if_told(tmp_path):
    """Those that are small enough stay as they are stored."""
    pixels = np.zeros((600, 900, 3), np.uint8)
    rows = rows_of_cases(2, width=lambda _: 900, height=lambda _: 600)
    rows[0]['images'] = cv2.imencode('.tif', pixels)[1].tobytes()
    rows[1]['images'] = cv2.imencode('.png', pixels)[1].tobytes()
    path = write_lake(tmp_path / 'lake', rows)
    predict_cases(path, 2)
    triage(path + BRANCH, tmp_path / 'whole')
    triage(path + BRANCH, tmp_path / 'small', max_side=300)
    triage(path + BRANCH, tmp_path / 'large', max_side=900)
    names = {
        each: sorted(file.name for file in (tmp_path / each / 'images').iterdir())
        for each in ('whole', 'small', 'large')
    }
    assert names['whole'] == names['large'] == ['0.jpg', '1.png']
    assert names['small'] == ['0.jpg', '1.jpg']
    stored = (tmp_path / 'whole' / 'images' / '1.png').read_bytes()
    assert stored == rows[1]['images'] == (tmp_path / 'large/images/1.png').read_bytes()
    for file, size in (('images/0.jpg', (200, 300)), ('thumbs/0.jpg', (213, THUMB_SIDE))):
        assert cv2.imread(str(tmp_path / 'small' / file)).shape[:2] == size


def test_rows_without_predictions_are_left_out(tmp_path):
    """As a test on a part of the lake leaves them."""
    path = write_lake(tmp_path / 'lake', rows_of_cases())
    predict_cases(path, 3)
    triage(path + BRANCH, tmp_path / 'page')
    assert data_of(tmp_path / 'page')['images']['row'] == [0, 1, 2]


def test_a_lake_without_annotations(tmp_path):
    """Its page shows predictions, and judges nothing."""
    rows = [
        {key: value for key, value in row.items() if key not in ('boxes', 'categories')}
        for row in rows_of_cases(3)
    ]
    path = write_lake(tmp_path / 'lake', rows, dict(boxes=None, categories=None))
    classes = dict(metainfo=dict(classes=('cat', 'dog', 'owl')))
    tensors = dict(deeplake_tensors=dict(gt_bboxes=None, gt_labels=None))
    predict_cases(path, 3, dataset={**classes, **tensors})
    triage(path + BRANCH, tmp_path / 'page')
    data = data_of(tmp_path / 'page')
    assert data['classes'] == ['cat', 'dog', 'owl'] and data['curves'] is None
    assert not data['runs'][0]['judged'] and len(data['annotations']['labels']) == 0
    assert len(data['runs'][0]['scores']) == sum(len(found) for found, _ in CASES[:3])


def test_masks_say_what_a_prediction_is_about(tmp_path):
    """Where masks were compared, as they were: boxes would say otherwise."""
    half = (2.0, 2.0, 22.0, 9.0)  # 0.35 of the cat's box; its mask is smaller still
    rows = rows_of_cases(1, segmentation=lambda _: polygons_of_cases())
    path = write_lake(tmp_path / 'lake', rows, {'segmentation': TYPES['text']})
    predict(path, {0: [(half, 0.9, 0)]}, masks=True, iou_type='segm')
    triage(path + BRANCH, tmp_path / 'page')
    (run,) = data_of(tmp_path / 'page')['runs']
    assert run['errors'].tolist() == [ERRORS.index('localisation')]
    assert run['about'].tolist() == [0]


def test_the_worst_of_a_lake_on_s3(tmp_path):
    """Read and tagged on object storage, with credentials that the page does not have."""
    with ObjectStore.start(tmp_path) as store:
        local = write_lake(tmp_path / 'lake', rows_of_cases())
        url = store.upload(local, 'lake')
        creds = dict(creds=store.creds)
        predict_cases(url, dataset=dict(deeplake_credentials=creds))
        out = tmp_path / 'page'
        triage(url + BRANCH, out, credentials=creds, worst=2, tag='worst')
        assert data_of(out)['images']['row'] == [5, 4]
        view = DeepLakeDataset(url, deeplake_credentials=creds, deeplake_view_id='worst')
        assert [view.get_data_info(i)['img_id'] for i in range(2)] == [5, 4]
        secrets = [v for k, v in store.creds.items() if 'secret' in k or 'key' in k]
        written = b''.join(f.read_bytes() for f in out.rglob('*') if f.is_file())
        assert secrets and not any(each.encode() in written for each in secrets)


MISTAKES: dict[str, tuple[list[str], str]] = {
    'nothing to do': ([], 'nothing is to be done; write --out DIR'),
    'unknown name': (
        ['--out', 'OUT', '--name', 'nets'],
        "does not have predictions 'nets' (did you mean net?); found: net",
    ),
    'unknown number': (
        ['--out', 'OUT', '--worst', '5', '--by', 'duplicates'],
        '--by duplicates: lake LAKE@runs/a (version VERSION) does not have a column with '
        'one number per image of this name (did you mean duplicate?); write one of tp, fp',
    ),
    'number without worst': (
        ['--out', 'OUT', '--by', 'fn'],
        '--by names the number by which images are the worst, but --worst is not set; '
        'write --worst 200 --by fn',
    ),
    'none of the worst': (
        ['--out', 'OUT', '--worst', '0'],
        '--worst must be a positive integer, got 0',
    ),
    'two choices': (
        ['--out', 'OUT', '--worst', '5', '--query', 'SELECT *'],
        '--query and --worst both select images; keep one of the two',
    ),
    'wrong query': (
        ['--out', 'OUT', '--query', 'SELECT * WHERE nonsense > 1'],
        "deeplake_query='SELECT * WHERE nonsense > 1' failed: ",
    ),
    'empty query': (
        ['--out', 'OUT', '--query', 'SELECT * WHERE image_id > 100'],
        'must select at least one row',
    ),
    'view without a choice': (
        ['--tag', 'worst'],
        '--tag saves the rows that are chosen, but none are; write --query TQL',
    ),
    'view that exists': (
        ['--tag', 'taken', '--worst', '2'],
        "LAKE has a view 'taken' already; write another name, or delete it",
    ),
    'name of a view': (
        ['--tag', 'the worst', '--worst', '2'],
        "the name of a view must be of letters, digits and _-., got 'the worst'",
    ),
    'view of some columns': (
        ['--tag', 'worst', '--query', 'SELECT images WHERE image_id > 1'],
        'leaves out columns (boxes, …), which a view needs; write SELECT * WHERE …',
    ),
    'score': (
        ['--out', 'OUT', '--score-thr', '30'],
        '--score-thr must be a number from 0 to 1, got 30.0; write --score-thr 0.05',
    ),
    'size': (
        ['--out', 'OUT', '--max-side', '-1'],
        '--max-side must be a positive integer, got -1; write --max-side 1024',
    ),
    'other content': (
        ['--out', 'LAKE'],
        '--out LAKE has other content than a page of this tool, which is left as it is',
    ),
    'a file': (['--out', 'FILE'], '--out FILE must be a folder, but it is a file'),
    'below a file': (['--out', 'FILE/page'], 'Not a directory'),
    'two names': (
        ['--out', 'OUT', '--compare-name', 'net'],
        'write --compare BRANCH --compare-name net',
    ),
    'comparison without a page': (
        ['--compare', 'runs/b', '--tag', 'worst', '--worst', '2'],
        '--compare needs a page to show the two runs on; write --out DIR or --serve',
    ),
    'other branch': (
        ['--out', 'OUT', '--compare', 'runs/c'],
        "does not have a branch or tag 'runs/c'",
    ),
    'other lake': (
        ['--out', 'OUT', '--compare', 'OTHER@runs/a'],
        '--compare OTHER@runs/a must be a branch of the same lake, but lake OTHER@runs/a',
    ),
    'compared with itself': (
        ['--out', 'OUT', '--compare', 'runs/a'],
        "does not have predictions other than 'net'",
    ),
    'compared with none': (
        ['--out', 'OUT', '--compare', 'main'],
        'does not have predictions; let DeepLakePredictions in test_evaluator write them',
    ),
    'compared with other images': (
        ['--out', 'OUT', '--compare', 'runs/later'],
        'has other images in the same rows',
    ),
    'port': (['--serve', '--port', '1000000'], '--port must be from 0 to 65535'),
}


@pytest.fixture(scope='module')
def mistaken(tmp_path_factory) -> tuple[Path, str]:
    """A folder with a lake, another lake, a file, and a view that is saved."""
    folder = tmp_path_factory.mktemp('mistakes')
    path = write_lake(folder / 'lake', rows_of_cases())
    predict_cases(path)
    triage(path + BRANCH, worst=1, tag='taken')
    predict_cases(write_lake(folder / 'other', rows_of_cases()))
    # A branch on which the first row was deleted before it was predicted.
    branch(path, 'changed', [9])
    lake = open_lake(path)
    head = lake.branches['changed'].open()
    head.delete(0)
    head.commit()
    predict_cases(f'{path}@changed', branch='runs/later')
    (folder / 'file').write_text('text')
    return folder, path


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistakes(mistake, mistaken, capsys):
    """Each ends with one line that says what to write; nothing is written."""
    folder, path = mistaken
    places = dict(LAKE=path, OUT=folder / 'out', FILE=folder / 'file', OTHER=folder / 'other')

    def filled(text: str) -> str:
        for word, place in places.items():
            text = re.sub(rf'\b{word}\b', str(place), text)
        return text

    before = sorted(folder.iterdir())
    options, expected = MISTAKES[mistake]
    assert main([path + BRANCH, *map(filled, options)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    pieces = filled(expected).split('VERSION')
    assert error.startswith('error: ')
    assert re.search('.*'.join(map(re.escape, pieces)), error), error
    assert sorted(folder.iterdir()) == before
    assert list(open_lake(path, writable=False).tags.names()) == ['taken']


def test_a_branch_without_predictions(mistaken, capsys):
    """The error says how predictions come there, and of several, which there are."""
    folder, path = mistaken
    assert main([path, '--out', str(folder / 'out')]) == 2
    assert 'does not have predictions; let DeepLakePredictions' in capsys.readouterr().err
    predict_cases(path, branch='runs/two', name='one')
    predict_cases(path, branch='runs/two', name='two')
    assert main([f'{path}@runs/two', '--out', str(folder / 'out')]) == 2
    found = capsys.readouterr().err
    assert 'has the predictions one, two; choose with --name one' in found


def test_a_view_is_of_the_newest_version(path, capsys):
    """An older one would have other columns than the branch that is named."""
    older = open_lake(path + BRANCH, writable=False).version
    predict_cases(path, name='second')
    options = ['--commit', older, '--name', 'net', '--worst', '2', '--tag', 'worst']
    assert main([path + BRANCH, *options]) == 2
    assert 'leave out --commit, and begin again' in capsys.readouterr().err
    assert list(open_lake(path, writable=False).tags.names()) == []


def test_the_page_is_part_of_the_package():
    """Each of its files is declared, loaded by the page, and short enough to read."""
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    patterns = config['options.package_data']['mmdet_deeplake_plugin.tools.triage_page']
    folder = Path(folder_module.__file__).parent
    found = sorted(file for each in patterns.split() for file in folder.glob(each))
    assert found == sorted((folder / 'page').iterdir()) == page_files()
    page = (folder / 'page' / 'page.html').read_text()
    for file in found:
        assert len(file.read_text().splitlines()) <= 400
        assert file.suffix == '.html' or f'"{file.name}"' in page
    assert set(re.findall(r'(?:src|href)="([^":]+)"', page)) == {
        'data.js',
        *(file.name for file in found if file.suffix != '.html'),
    }


def test_help_says_what_the_tool_does(capsys):
    """With an example, as its sisters have it."""
    with pytest.raises(SystemExit, match='0'):
        main(['--help'])
    text = capsys.readouterr().out
    assert 'example: python -m mmdet_deeplake_plugin.tools.triage lakes/val@runs/' in text
    for option in ('--out', '--serve', '--worst', '--by', '--tag', '--compare', '--query'):
        assert option in text


def test_what_was_added_to_main_since_does_not_matter(path, tmp_path):
    """The branch has the version that was evaluated."""
    append(path, [50, 51])
    triage(path + BRANCH, tmp_path / 'page')
    assert len(data_of(tmp_path / 'page')['images']['row']) == len(CASES)
