"""Makes the picture of the page in ``docs/loop.md``.

    PYTHONPATH=tests python -m helpers.triage_picture docs/triage.webp
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from helpers.browser import Watched, started_browser
from helpers.lakes import write_lake
from helpers.predictions import predict
from mmdet_deeplake_plugin.tools.triage import triage

WIDTH, HEIGHT, IMAGES = 480, 360, 60
CLASSES = ('disc', 'square', 'triangle')
COLOURS = ((60, 90, 200), (70, 160, 70), (190, 120, 40))  # blue, green, red of each


def main(target: str) -> None:
    """Writes the picture.

    Args:
        target: A WebP file.
    """
    with tempfile.TemporaryDirectory() as name, started_browser() as browser:
        folder = Path(name)
        lake = _drawn_lake(folder / 'shapes')
        triage(f'{lake}@runs/rtmdet_tiny', folder / 'page', compare='runs/older')
        window = Watched(browser, color_scheme='light')
        page = window.open(folder / 'page')
        page.evaluate('document.getElementById("title").textContent = "rtmdet_tiny on data/val"')
        page.click('#comparison summary')
        page.click('#confusion summary')
        page.select_option('#sort', 'f1')
        page.evaluate('document.getElementById("panel").scrollTop = 300')
        page.evaluate('document.activeElement.blur()')
        page.wait_for_timeout(500)
        picture = page.screenshot()
        window.close()
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    cv2.imwrite(target, pixels, [cv2.IMWRITE_WEBP_QUALITY, 80])


def _drawn_lake(path: Path) -> str:
    """A lake of drawn scenes, with predictions of two runs."""
    rng = np.random.default_rng(7)
    rows, truths = [], []
    for number in range(IMAGES):
        pixels, boxes, labels = _scene(rng)
        encoded = cv2.imencode('.jpg', pixels)[1].tobytes()
        rows.append(
            dict(
                images=encoded,
                boxes=np.array([[x, y, z - x, b - y] for x, y, z, b in boxes]),
                categories=np.array(labels, np.int32),
                image_id=number,
                file_name=f'scene_{number:04d}.jpg',
                width=WIDTH,
                height=HEIGHT,
            )
        )
        truths.append((boxes, labels))
    lake = write_lake(path, rows, class_names=CLASSES)
    for branch, skill in (('runs/rtmdet_tiny', 0.8), ('runs/older', 0.7)):
        found = {
            number: _found(rng, *truth, skill) for number, truth in enumerate(truths)
        }
        predict(lake, found, branch=branch, name=branch.partition('/')[2])
    return lake


def _scene(rng: np.random.Generator) -> tuple[Any, list[Any], list[int]]:
    """Shapes on a ground of soft colours."""
    coarse = rng.integers(150, 200, (4, 5, 1)) + rng.integers(-12, 12, (4, 5, 3))
    size = WIDTH, HEIGHT
    pixels = cv2.resize(coarse.astype(np.uint8), size, interpolation=cv2.INTER_CUBIC)
    boxes: list[Any] = []
    labels = []
    for _ in range(int(rng.integers(2, 7))):
        size = int(np.exp(rng.uniform(np.log(24), np.log(130))))
        x, y = (int(rng.integers(4, most - size - 4)) for most in (WIDTH, HEIGHT))
        if any(abs(x - a) < size and abs(y - b) < size for a, b, _, _ in boxes):
            continue
        label = int(rng.integers(3))
        corners = [[x, y + size], [x + size, y + size], [x + size // 2, y]]
        if label == 0:
            cv2.circle(pixels, (x + size // 2, y + size // 2), size // 2, COLOURS[0], -1)
        elif label == 1:
            cv2.rectangle(pixels, (x, y), (x + size, y + size), COLOURS[1], -1)
        else:
            cv2.fillPoly(pixels, [np.array(corners)], COLOURS[2])
        boxes.append((x, y, x + size, y + size))
        labels.append(label)
    return pixels, boxes, labels


def _found(
    rng: np.random.Generator, boxes: list[Any], labels: list[int], skill: float
) -> list[Any]:
    """What a model of some skill finds of them: with every kind of error."""
    found = []
    for box, label in zip(boxes, labels):
        if rng.random() > skill + 0.1:
            continue
        size = box[2] - box[0]
        shift = rng.normal(0, 0.04 if rng.random() < skill else 0.25, 2) * size
        moved = (np.array(box) + np.tile(shift, 2)).tolist()
        guess = label if rng.random() < skill + 0.1 else int(rng.integers(3))
        found.append((tuple(moved), float(rng.beta(6, 2)), guess))
        if rng.random() < 0.1:
            again = (np.array(moved) + rng.normal(0, 0.05, 4) * size).tolist()
            found.append((tuple(again), float(rng.uniform(0.3, 0.6)), guess))
    for _ in range(int(rng.integers(0, 3) * (1 - skill) * 3)):
        x, y = rng.uniform(0, 300, 2).tolist()
        size = float(rng.uniform(20, 60))
        box = (x, y, x + size, y + size)
        found.append((box, float(rng.uniform(0.3, 0.9)), int(rng.integers(3))))
    return found


if __name__ == '__main__':
    main(*sys.argv[1:])
