"""The page of ``tools.triage`` in a real Chromium: what a person does with it."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest
from helpers.browser import Watched, wait
from helpers.lakes import TYPES, write_lake
from helpers.predictions import CASES, predict_cases, rows_of_cases
from helpers.triage_data import CLASSES, COUNT, FILE_NAME, OTHERS, data_of

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.tools.triage import main, triage
from mmdet_deeplake_plugin.tools.triage_page.server import PageServer

EVERY = list(range(COUNT))


def of_kind(*kinds: int) -> list[int]:
    """The images of some cases."""
    return [number for number in EVERY if number % len(CASES) in kinds]


def shown(page: Any) -> list[int]:
    """The images that fit the filter, in their order."""
    return page.evaluate('Triage.shown')


def tiles(page: Any) -> list[int]:
    """The images that have elements."""
    return page.eval_on_selector_all('.tile', 'all => all.map(t => Number(t.dataset.image))')


def bars(page: Any, name: str) -> Any:
    """A bar of the errors."""
    return page.locator(f'#errors .bars button:has-text("{name}")')


@pytest.fixture
def page(watched, page_folder) -> Iterator[Any]:
    """The page of the run ``a``, opened from the disk; it loads nothing else."""
    window = watched()
    yield window.open(page_folder)
    root = page_folder.as_uri() + '/'
    assert all(each.startswith((root, 'data:')) for each in window.asked)


def test_the_first_view(page):
    """Only what is in sight has elements and is loaded; scrolling brings the rest."""
    assert page.title().startswith('net on ')
    assert page.inner_text('#count') == f'{COUNT} images'
    assert shown(page) == EVERY
    first = tiles(page)
    assert first == EVERY[: len(first)] and len(first) < COUNT / 2
    wait(page, 'document.querySelector("#image-0 img").naturalWidth > 0')
    page.evaluate('document.getElementById("grid").scrollTop = 1e6')
    page.wait_for_selector(f'#image-{COUNT - 1}')
    assert 0 not in tiles(page)
    page.evaluate('document.getElementById("grid").scrollTop = 0')
    page.wait_for_selector('#image-0')


COLOURED = """() => {
    const {width, height} = document.querySelector("#image-3 canvas");
    const pen = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
    pen.drawImage(document.querySelector("#image-3 canvas"), 0, 0);
    const pixels = pen.getImageData(0, 0, width, height);
    let coloured = 0;
    for (let at = 3; at < pixels.data.length; at += 4) coloured += pixels.data[at] > 200;
    return coloured;
}"""


def test_thumbnails_show_boxes(page):
    """Of annotations and of predictions; those that the filter does not ask for are faint."""
    both = page.evaluate(COLOURED)
    page.uncheck('#show-truth')
    predictions = page.evaluate(COLOURED)
    assert 0 < predictions < both
    page.select_option('#error', label='background')
    assert 0 < page.evaluate(COLOURED) < predictions
    page.uncheck('#show-predictions')
    assert page.evaluate(COLOURED) == 0


FILTERS: dict[str, tuple[dict[str, str], list[int]]] = {
    'class': ({'class': CLASSES[2]}, of_kind(3)),
    'missed': ({'what': 'missed'}, of_kind(1, 5)),
    'mistaken': ({'what': 'mistaken'}, of_kind(4, 6)),
    'wrong': ({'what': 'wrong'}, of_kind(2, 3, 4, 6)),
    'error': ({'error': 'duplicate'}, of_kind(2)),
    'class and verdict': ({'class': CLASSES[1], 'what': 'wrong'}, of_kind(4, 6)),
    'class that was missed': ({'class': CLASSES[0], 'what': 'missed'}, of_kind(5)),
    'class and error': ({'class': CLASSES[0], 'error': 'classification'}, []),
    'scores from': ({'low': '0.92'}, of_kind(3)),
    'scores to': ({'low': '0', 'high': '0.25'}, of_kind(5)),
    'verdict and score': ({'what': 'wrong', 'high': '0.75'}, of_kind(2, 6)),
    'text': ({'text': '000135 <IMG'}, [135]),
    'id': ({'text': ' 973'}, [139]),
}


@pytest.fixture(scope='module')
def open_page(browser, page_folder) -> Iterator[Any]:
    """A page that several tests use; each leaves it without a filter."""
    window = Watched(browser)
    yield window.open(page_folder)
    window.close()


@pytest.mark.parametrize('name', FILTERS)
def test_filters(name, open_page):
    """Each finds the images that have such an object, together those with one of all."""
    page = open_page
    values, expected = FILTERS[name]
    for control, value in values.items():
        field = page.locator(f'#{control}')
        if control in ('class', 'what', 'error'):
            field.select_option(label=value)
        else:
            field.fill(value)
            field.dispatch_event('change')
    assert shown(page) == expected
    assert page.inner_text('#count') == f'{len(expected)} of {COUNT} images'
    assert page.is_visible('#nothing') == (not expected)
    page.click('text=Reset the filters')
    assert shown(page) == EVERY
    assert page.input_value('#low') == '0.3'


def test_sorting_by_any_number(page, page_folder):
    """Both ways, by each number that an image has, and by name."""
    numbers = data_of(page_folder)['numbers']
    assert {'f1', 'fn', 'label_quality', 'duplicate', 'image_id'} < numbers.keys()
    for name, values in numbers.items():
        page.select_option('#sort', name)
        assert shown(page) == sorted(EVERY, key=lambda image: values[image])
    page.click('#direction')
    assert page.inner_text('#direction') == 'descending'
    assert shown(page) == sorted(EVERY, key=lambda image: -values[image])
    page.select_option('#sort', 'f1')
    assert shown(page)[:20] == of_kind(0)
    assert page.inner_text(f'#image-{shown(page)[0]} .numbers').startswith('f1 1 · 0 fp')
    page.select_option('#sort', 'file name')
    assert shown(page) == EVERY[::-1]


def test_bars_lead_to_the_images(page):
    """Counts are those of the lake; each bar is a filter, and undoes itself."""
    counts = {1: 'classification', 2: 'localisation', 4: 'duplicate', 5: 'background'}
    kinds = dict(classification=4, localisation=6, duplicate=2, background=3)
    for name in counts.values():
        assert bars(page, name).locator('b').inner_text() == '20'
        bars(page, name).click()
        assert shown(page) == of_kind(kinds[name])
        assert bars(page, name).get_attribute('aria-pressed') == 'true'
        bars(page, name).click()
        assert shown(page) == EVERY
    assert bars(page, 'missed').locator('b').inner_text() == '60'
    bars(page, 'missed').click()
    assert shown(page) == of_kind(1, 5)
    assert page.input_value('#what') == 'a:0'


def test_confusions_lead_to_the_images(page):
    """Of two classes, of nothing, and of what was found."""
    page.click('#confusion summary')
    table = page.locator('#confusion table')
    table.locator('tbody tr').nth(3).wait_for()  # it is filled when it is first opened
    cells = [row.inner_text().split('\t') for row in table.locator('tbody tr').all()]
    numbers = [[cell.strip() for cell in row[1:]] for row in cells]
    # A cat is found or called a dog, or missed; 20 dogs are badly located, in no cell.
    assert numbers == [
        ['100', '20', '', '20'],
        ['', '80', '', '40'],
        ['', '', '', ''],
        ['', '', '20', ''],
    ]
    for row, column, expected in (
        (0, 1, of_kind(4)),
        (1, 3, of_kind(1, 5)),
        (3, 2, of_kind(3)),
        (0, 0, of_kind(0, 1, 2, 3, 6)),
    ):
        cell = table.locator('tbody tr').nth(row).locator('td').nth(column)
        cell.locator('button').click()
        assert shown(page) == expected, (row, column)
        assert page.is_visible('#pair')
        page.click('#pair button')
        assert shown(page) == EVERY


def test_the_curve_leads_to_the_images(page, page_folder):
    """A point of it is a score; the wrong predictions from there on are shown."""
    average = data_of(page_folder)['curves'][2]['ap']
    page.locator('#curve .bars button', has_text='dog').click()
    assert page.input_value('#class') == '1'
    assert f'AP {average:#.3g}' in page.inner_text('#curve p')
    slider = page.locator('#curve input')
    slider.fill('0')
    assert 'at recall 0.00' in page.inner_text('#curve output')
    slider.focus()
    page.keyboard.press('ArrowRight')
    assert 'at recall 0.01' in page.inner_text('#curve output')
    page.click('#curve svg', position={'x': 200, 'y': 60})
    reading = page.inner_text('#curve output')
    assert 0.5 < float(reading.rpartition(' ')[2]) < 0.9
    button = page.locator('#curve .body > button')
    slider.fill('50')
    assert button.inner_text() == 'Its wrong predictions, from score 0.80'
    button.click()
    assert shown(page) == of_kind(4)


def test_the_large_view(page):
    """Opens, goes on, zooms by key, wheel and button, moves, and closes by keys."""
    page.click('#image-3 .picture')
    assert page.inner_text('#viewer-title') == FILE_NAME.format(3)
    assert page.locator('#stage svg .box').count() == 5
    words = page.eval_on_selector_all('#stage svg text', 'all => all.map(t => t.textContent)')
    assert f'{CLASSES[2]} 0.95 background' in words
    wait(page, 'document.querySelector("#stage img").naturalWidth === 64')

    def width() -> float:
        return page.evaluate('document.getElementById("stage").getBoundingClientRect().width')

    whole = width()
    page.keyboard.press('+')
    assert width() == pytest.approx(1.5 * whole, abs=1)
    page.keyboard.press('Shift+ArrowRight')
    page.keyboard.press('-')
    assert width() == pytest.approx(whole, abs=1)
    page.hover('#frame')
    page.mouse.wheel(0, -100)
    wait(page, f'document.getElementById("stage").offsetWidth > {whole + 1}')
    left = page.evaluate('document.getElementById("stage").offsetLeft')
    page.mouse.down()
    page.mouse.move(700, 500)
    page.mouse.move(740, 500)
    page.mouse.up()
    assert page.evaluate('document.getElementById("stage").offsetLeft') != left
    page.keyboard.press('0')
    assert width() == pytest.approx(whole, abs=1)
    page.click('#zoom-in')
    assert width() > whole
    page.click('#zoom-fit')
    page.keyboard.press('ArrowRight')
    assert page.inner_text('#viewer-title') == FILE_NAME.format(4)
    page.keyboard.press('ArrowLeft')
    page.keyboard.press('t')
    assert page.locator('#stage .truth').count() == 0
    page.keyboard.press('p')
    assert page.locator('#stage .box').count() == 0
    page.keyboard.press('t')
    page.keyboard.press('p')
    assert page.locator('#stage .box').count() == 5
    page.keyboard.press('Escape')
    assert not page.is_visible('#viewer')


def test_the_pointer_keeps_its_place_while_it_zooms(page):
    """What is under it stays there."""
    page.click('#image-0 .picture')
    page.wait_for_selector('#stage img')
    share = '''() => {
        const box = document.getElementById("stage").getBoundingClientRect();
        return [(500 - box.left) / box.width, (300 - box.top) / box.height];
    }'''
    page.mouse.move(500, 300)
    for turn in range(5):
        before = page.inner_text('#zoom')
        page.mouse.wheel(0, -100)
        wait(page, f'document.getElementById("zoom").textContent !== "{before}"')
        if turn == 2:  # from here on, the image fills the frame
            first = page.evaluate(share)
    assert page.evaluate(share) == pytest.approx(first, abs=0.02)


def test_an_object_is_pointed_out(page):
    """Where it stands in the list, and by its focus too."""
    page.click('#image-2 .picture')
    entry = page.locator('#objects .object', has_text='duplicate')
    assert '#0, IoU 1.00' in entry.inner_text()
    entry.focus()
    assert page.locator('#stage .lit').count() == 1
    assert 'duplicate' in page.eval_on_selector('#stage .lit text', 't => t.textContent')


def test_the_keyboard_is_enough(page):
    """Arrows, Enter, marks, help and search without a mouse."""
    assert page.evaluate('document.activeElement.id') == 'grid'
    page.keyboard.press('ArrowRight')
    page.keyboard.press('ArrowRight')
    assert page.get_attribute('#grid', 'aria-activedescendant') == 'image-2'
    page.keyboard.press('ArrowDown')
    below = page.evaluate('Triage.active()')
    page.keyboard.press('ArrowUp')
    assert page.evaluate('Triage.active()') == 2 < below
    page.keyboard.press('End')
    page.wait_for_selector(f'#image-{COUNT - 1}.active')
    page.keyboard.press('Home')
    page.keyboard.press('PageDown')
    assert page.evaluate('Triage.active()') > below
    page.keyboard.press('Home')
    page.keyboard.press('Space')
    page.keyboard.press('Enter')
    assert page.is_visible('#viewer')
    page.keyboard.press('ArrowRight')
    page.keyboard.press('m')
    page.keyboard.press('Escape')
    assert page.evaluate('[...Triage.marks]') == [0, 1]
    assert page.evaluate('document.activeElement.id') == 'grid'
    page.keyboard.press('?')
    assert page.is_visible('#help')
    page.keyboard.press('Escape')
    bars(page, 'duplicate').focus()
    page.keyboard.press('Enter')
    assert shown(page) == of_kind(2)
    assert 'duplicate' in page.evaluate('document.activeElement.textContent')
    page.keyboard.press('Enter')
    page.keyboard.press('/')
    page.keyboard.type('000139 t')
    assert shown(page) == []
    assert page.evaluate('Triage.show.truth')
    # Everything can be reached by Tab, and shows where the focus is.
    page.evaluate('document.activeElement.blur()')
    reached = set()
    for _ in range(80):
        page.keyboard.press('Tab')
        reached.add(page.evaluate('document.activeElement.id'))
    assert {'class', 'what', 'error', 'low', 'high', 'text', 'sort', 'grid'} < reached
    page.focus('#sort')
    page.keyboard.press('Tab')
    assert page.evaluate(
        'getComputedStyle(document.activeElement).outlineStyle'
    ) == 'solid'


def test_marked_images_become_a_query_and_a_view(many, page, browser):
    """Both give the marked images to a dataset; marks outlive the window."""
    page.select_option('#error', label='background')
    page.click('#mark-all')
    page.click('text=Reset the filters')
    page.click('#image-0 .tick')
    page.click('#image-1 .picture', modifiers=['Control'])
    page.click('#image-3 .tick')
    expected = sorted({0, 1, *of_kind(3)} - {3})
    assert page.inner_text('#marked') == f'{len(expected)} marked'
    page.check('#only-marked')
    assert shown(page) == expected
    page.reload()
    page.wait_for_selector('body[data-ready=yes]')
    assert sorted(page.evaluate('[...Triage.marks]')) == expected
    page.click('#open-export')
    query = page.input_value('#query')
    dataset = DeepLakeDataset(f'{many}@runs/a', deeplake_query=query)
    found = [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))]
    assert sorted(found) == [7 * number for number in expected]
    page.fill('#view-name', 'not a name')
    assert page.input_value('#command') == ''
    page.fill('#view-name', 'by-hand')
    command = page.input_value('#command')
    page.context.grant_permissions(['clipboard-read', 'clipboard-write'])
    page.click('[data-copy=command]')
    wait(page, 'document.getElementById("copied").textContent === "Copied."')
    words = shlex.split(command)
    assert words[:3] == ['python', '-m', 'mmdet_deeplake_plugin.tools.triage']
    assert main(words[3:]) == 0
    view = DeepLakeDataset(many, deeplake_view_id='by-hand')
    assert [view.get_data_info(index)['img_id'] for index in range(len(view))] == found
    page.click('#export [data-close]')
    page.click('#unmark-all')
    assert page.is_disabled('#open-export')


IDS: dict[str, dict[str, Any]] = {
    'texts': dict(
        rows=rows_of_cases(4, image_id=lambda n: f"it's {n} \"x\" \\ é"),
        columns={'image_id': TYPES['text']},
    ),
    'none': dict(rows=rows_of_cases(4), columns={'image_id': None}),
}


@pytest.mark.parametrize('ids', IDS)
def test_marked_images_of_other_ids(ids, watched, tmp_path):
    """Texts with quotes, and rows where there are no ids."""
    path = write_lake(tmp_path / 'lake', **IDS[ids])
    predict_cases(path, 4)
    triage(f'{path}@runs/a', tmp_path / 'page')
    page = watched().open(tmp_path / 'page')
    page.evaluate('Triage.mark([1, 3], true)')
    page.click('#open-export')
    words = shlex.split(page.input_value('#command'))
    assert main(words[3:]) == 0
    view = DeepLakeDataset(path, deeplake_view_id='worst')
    names = [view.get_data_info(i)['img_path'].rpartition('/')[2] for i in range(len(view))]
    assert names == ['000001.jpg', '000003.jpg']


def test_names_are_text(page):
    """Of classes and files: shown as they are, run nowhere, as nothing of the page."""
    labels = page.locator('#class option').all_inner_texts()
    assert labels == ['any', *CLASSES]
    assert page.inner_text('#image-5 .name') == FILE_NAME.format(5)
    page.click('#confusion summary')
    page.click('#image-4 .picture')
    assert CLASSES[1] in page.inner_text('#objects')
    page.keyboard.press('Escape')
    page.locator('#curve .bars button').first.click()
    assert page.evaluate('window.hacked') is None
    assert page.locator('script:not([src])').count() == 0
    assert page.locator('img[onerror], b:has-text("bold") b').count() == 0


def _contrast(one: str, other: str) -> float:
    """Contrast of two colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        channels = [int(each) / 255 for each in re.findall(r'\d+', colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_light_and_dark(watched, page_folder):
    """As the system has it; text can be read in both."""
    papers = []
    for scheme in ('light', 'dark'):
        page = watched(color_scheme=scheme).open(page_folder)
        page.click('#image-0 .tick')
        style = 'element => [getComputedStyle(element).color, getComputedStyle(element).backgroundColor]'
        ink, paper = page.eval_on_selector('body', style)
        side = page.eval_on_selector('#panel', style)[1]
        faint = page.eval_on_selector('.numbers', style)[0]
        papers.append(paper)
        for text, ground in ((ink, paper), (ink, side), (faint, paper), (faint, side)):
            assert _contrast(text, ground) >= 4.5
        strong = page.eval_on_selector('#open-export', style)
        assert _contrast(*strong) >= 4.5
    assert papers[0] != papers[1]


def test_colour_is_not_all(page):
    """Each kind of box differs from the others by dash, width or sign too."""
    page.click('#open-help')
    looks = page.eval_on_selector_all(
        '#legend svg',
        '''all => all.map(svg => {
            const style = getComputedStyle(svg.querySelector(".line"));
            const sign = svg.querySelector(".sign");
            return [style.strokeDasharray, style.strokeWidth, sign && sign.getAttribute("d")].join();
        })''',
    )
    assert len(looks) == len(set(looks)) == 7


def test_a_page_of_two_runs(watched, many, tmp_path):
    """What became better or worse is found; the other run can be shown."""
    triage(f'{many}@runs/a', tmp_path / 'page', compare='runs/b')
    page = watched().open(tmp_path / 'page')
    same = [kind for kind in range(len(CASES)) if kind not in OTHERS]
    for name, kinds in dict(better=[0], worse=[1], changed=[2], same=same).items():
        button = page.locator('#comparison .bars button', has_text=f' {name}')
        assert button.locator('b').inner_text() == str(20 * len(kinds))
        button.click()
        assert shown(page) == of_kind(*kinds)
        button.click()
    page.select_option('#change', label='worse')
    assert shown(page) == of_kind(1)
    page.select_option('#change', label='any')
    page.select_option('#sort', 'Δ f1')
    assert sorted(shown(page)[:20]) == of_kind(1)
    assert sorted(shown(page)[-20:]) == of_kind(0)
    rows = page.locator('#comparison .delta tbody tr').all_inner_texts()
    assert rows[0].startswith('all classes\t') and len(rows) == 4 + 2
    page.locator('#comparison .delta button', has_text='dog').click()
    assert page.input_value('#class') == '1'
    assert page.locator('#comparison .delta tbody tr').first.inner_text().startswith('all\t')
    page.click('text=Reset the filters')
    page.select_option('#sort', 'file name')
    page.click('#image-0 .picture')
    assert page.locator('#stage .prediction').count() == 2
    page.keyboard.press('b')
    assert page.locator('#stage .prediction').count() == 1
    page.keyboard.press('Escape')
    assert page.input_value('#run') == '1'
    page.select_option('#what', label='missed')
    assert shown(page) == of_kind(0, 5)


def test_a_page_without_verdicts(watched, tmp_path):
    """Shows predictions, and no control that needs annotations."""
    rows = [
        {key: value for key, value in row.items() if key not in ('boxes', 'categories')}
        for row in rows_of_cases(3)
    ]
    path = write_lake(tmp_path / 'lake', rows, dict(boxes=None, categories=None))
    keys = dict(
        metainfo=dict(classes=('cat', 'dog', 'owl')),
        deeplake_tensors=dict(gt_bboxes=None, gt_labels=None),
    )
    predict_cases(path, 3, dataset=keys)
    triage(f'{path}@runs/a', tmp_path / 'page')
    page = watched().open(tmp_path / 'page')
    for control in ('#what', '#error', '#errors', '#curve', '#confusion', '#comparison'):
        assert not page.is_visible(control)
    page.select_option('#class', label='dog')
    assert shown(page) == [0, 2]
    page.click('#image-0 .picture')
    assert page.locator('#stage .prediction').count() == 2


def test_a_served_page_makes_thumbnails_when_they_are_seen(watched, many):
    """Only for this machine, and only what belongs to the page."""
    servers: list[PageServer] = []

    def look(server: PageServer) -> None:
        servers.append(server)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            page = watched().open(server.url)
            wait(page, 'document.querySelector("#image-0 img").naturalWidth > 0')
            page.click('#image-2 .picture')
            wait(page, 'document.querySelector("#stage img").naturalWidth === 64')
            for path, host, status in (
                ('thumbs/0.jpg', 'evil.example:80', 403),
                (f'thumbs/{COUNT}.jpg', None, 404),
                ('images/../data.py', None, 404),
                ('setup.cfg', None, 404),
            ):
                request = Request(server.url + path)
                if host:
                    request.add_header('Host', host)
                with pytest.raises(OSError, match=str(status)):
                    urlopen(request)
        finally:
            server.stop()
            thread.join()

    text = triage(f'{many}@runs/a', serve=look, query='SELECT * WHERE image_id < 700')
    (server,) = servers
    assert server.url.startswith('http://127.0.0.1:') and server.url in text
    made = server._thumbnail.cache_info().currsize
    assert 0 < made < 100
