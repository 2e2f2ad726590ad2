"""How quick is the page of ``tools.triage`` with 5,000 images?

Drawn data of COCO's kind (80 classes, 7 boxes and 120 predictions per image) in a lake,
its page written to a folder, and that folder opened in Chromium, each time with an empty
cache. Times are those of the browser's own clock, from the begin of the navigation to the
frame that shows the result. Beside them stands what the page's own thread computed, which
other processes on the machine change little:

    python benchmarks/triage_page.py
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _common import Report, make_parser, median, progress, say
from coco_backend import CLASSES, drawn
from playwright.sync_api import sync_playwright

from mmdet_deeplake_plugin.evaluation import Rules
from mmdet_deeplake_plugin.lake import LakeSpec, PredictionBranch, open_lake
from mmdet_deeplake_plugin.metrics.ground_truth import GroundTruthReader
from mmdet_deeplake_plugin.metrics.judging import Blocks
from mmdet_deeplake_plugin.tools.from_coco import from_coco
from mmdet_deeplake_plugin.tools.triage import triage

SIDE, PICTURES = 640, 50  # pixels; pictures that differ
OPTIONS = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--no-first-run',
]
# Milliseconds from the begin of the navigation until the next frame is shown.
NEXT_FRAME = """() => new Promise(done => requestAnimationFrame(
    () => setTimeout(() => done(performance.now()))))"""
IN_SIGHT = """() => {
    const bottom = document.getElementById("grid").getBoundingClientRect().bottom;
    return [...document.querySelectorAll(".tile img")]
        .filter(image => image.getBoundingClientRect().top < bottom)
        .every(image => image.complete && image.naturalWidth > 0);
}"""
ACTION = """async (action) => {
    const began = performance.now();
    new Function("Triage", action)(window.Triage);
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - began;
}"""
ACTIONS = {
    'filter by class': 'Triage.setFilter({cls: 17})',
    'filter by error': 'Triage.setFilter({cls: -1, error: 5})',
    'filter by verdict and score': 'Triage.setFilter({error: -1, what: "p:0", low: 0.8})',
    'filter by text': 'Triage.setFilter({what: "", low: 0.3, text: "49"})',
    'sort': 'Triage.setFilter({text: ""}); Triage.sort.by = "fp"; Triage.apply()',
    'scroll to the end': 'Triage.goTo(1e9)',
    'open the large view': 'Triage.view()',
}


def make_lake(folder: Path, images: int) -> str:
    """Writes a lake of drawn pictures with predictions on a branch.

    Args:
        folder: Where.
        images: How many.
    """
    truth, predictions = drawn(images)
    rng = np.random.default_rng(0)
    (folder / 'images').mkdir()
    for number in range(min(PICTURES, images)):
        coarse = rng.integers(0, 255, (40, 40, 3), np.uint8)
        cv2.imwrite(str(folder / f'{number}.jpg'), cv2.resize(coarse, (SIDE, SIDE)))
    content = truth.to_coco()
    for number, image in enumerate(content['images']):
        image['file_name'] = f'{number:06d}.jpg'
        (folder / 'images' / image['file_name']).hardlink_to(
            folder / f'{number % PICTURES}.jpg'
        )
    (folder / 'truth.json').write_text(json.dumps(content))
    from_coco(folder / 'truth.json', folder / 'images', str(folder / 'lake'))
    lake, _ = open_lake(LakeSpec.from_config(str(folder / 'lake')))
    rows, rules = list(range(images)), Rules()
    stored = GroundTruthReader(with_stuff=True).read({lake: rows})
    blocks = Blocks(lake, rows, predictions, stored, CLASSES, rules)
    branch = PredictionBranch(lake.source, 'runs/drawn', 'net')
    branch.write(blocks.columns, blocks, {'rules': asdict(rules)})
    return f'{folder / "lake"}@runs/drawn'


Times = dict[str, tuple[float, float]]


def look(browser: Any, address: str) -> Times:
    """Opens the page once; returns the seconds of each step, and those of its thread."""
    context = browser.new_context(viewport={'width': 1600, 'height': 1000})
    page = context.new_page()
    session, spent = context.new_cdp_session(page), [0.0]
    session.send('Performance.setTimeDomain', {'timeDomain': 'threadTicks'})
    session.send('Performance.enable')
    found: Times = {}

    def note(name: str, milliseconds: float) -> None:
        metrics = session.send('Performance.getMetrics')['metrics']
        total = next(each['value'] for each in metrics if each['name'] == 'TaskDuration')
        found[name] = milliseconds / 1e3, total - spent[0]
        spent[0] = total

    page.goto(address, wait_until='commit')
    page.wait_for_selector('body[data-ready=yes]')
    without = page.evaluate(NEXT_FRAME)
    while not page.evaluate(IN_SIGHT):
        page.evaluate(NEXT_FRAME)
    note('first view', page.evaluate(NEXT_FRAME))
    found['the same without pictures'] = without / 1e3, found['first view'][1]
    for name, action in ACTIONS.items():
        note(name, page.evaluate(ACTION, action))
    context.close()
    return found


def main() -> None:
    """Measures and reports."""
    parser = make_parser(__doc__)
    parser.add_argument('--images', type=int, help='on the page (5,000)')
    parser.add_argument('--chromium', default=shutil.which('chromium'))
    args: argparse.Namespace = parser.parse_args()
    images = args.images or (200 if args.quick else 5000)
    repetitions = args.repetitions or (1 if args.quick else 7)
    report = Report('triage_page', 'How quick is the page of 5,000 images?', args.quick)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say(f'writing a lake of {images} images')
        path = make_lake(folder, images)
        began = time.monotonic()
        triage(path, folder / 'page', progress=True)
        writing = time.monotonic() - began
        size = sum(file.stat().st_size for file in (folder / 'page').rglob('*'))
        data = (folder / 'page' / 'data.js').stat().st_size
        address = (folder / 'page' / 'index.html').as_uri()
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=args.chromium, args=OPTIONS)
            report.settings['Chromium'] = browser.version
            look(browser, address)  # warms the disk
            turns = progress(range(repetitions), 'looking')
            rounds = [look(browser, address) for _ in turns]
            browser.close()
    times = {key: [each[key] for each in rounds] for key in rounds[0]}
    walls = {key: [wall for wall, _ in each] for key, each in times.items()}
    report.raw = times
    report.settings.update({'images': f'{images:,}', 'repetitions': repetitions})
    rows = [
        [key, median(each), min(each), max(each), median([cpu for _, cpu in times[key]])]
        for key, each in walls.items()
    ]
    report.table(
        'Seconds in the browser', ['step', 'median', 'least', 'most', 'computed'], rows,
        f'The page was written in {writing:.0f} s: {size / 1e6:.0f} MB, of which the '
        f'data without images {data / 1e6:.1f} MB.',
    )
    first = median(walls['first view'])
    slowest = max(median(each) for key, each in walls.items() if key.startswith('filter'))
    report.goal('first view under 2 s', f'{first:.2f} s', first < 2)
    report.goal('any filter under 0.3 s', f'{slowest:.3f} s', slowest < 0.3)
    report.write()


if __name__ == '__main__':
    main()
