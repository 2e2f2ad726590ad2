"""Starts an S3 server on the loopback with a lake in it, to play with: ``make s3``.

It prints what a shell and a config need, and how to make the server fail. The lake is
made of the real images of ``../shared/data/bccd`` if they are there, else of a few that
are drawn.
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
import threading
from pathlib import Path

import cv2
import numpy as np

from helpers import SHARED_DATA
from helpers.object_store import Key, ObjectStore
from mmdet_deeplake_plugin.tools.from_coco import from_coco

BCCD = SHARED_DATA / 'bccd'
# The same each time, so that a shell may keep its exports.
KEY = Key('demo', 'not-a-secret')

TEXT = """
An S3 server runs at {endpoint}, with a lake of {images} images at {url}

In the shell that trains:

    export AWS_ACCESS_KEY_ID={key.id}
    export AWS_SECRET_ACCESS_KEY={key.secret}

In the config:

    custom_imports = dict(imports=['mmdet_deeplake_plugin'])
    train_dataloader = dict(
        sampler=dict(_delete_=True, type='DeepLakeLoader', shuffle=True),
        dataset=dict(
            _delete_=True, type='DeepLakeDataset', deeplake_path='{url}',
            deeplake_credentials=dict(creds=dict(
                aws_access_key_id='env:AWS_ACCESS_KEY_ID',
                aws_secret_access_key='env:AWS_SECRET_ACCESS_KEY',
                aws_region='us-east-1', endpoint_url='{endpoint}')),
            pipeline=_base_.train_pipeline))

In another shell, how it shall fail (all kinds: tests/helpers/object_store/faults.py):

    control={control}
    # a fifth of the requests is told to slow down, and every answer takes 20 ms
    curl -X PUT $control/faults -d '[{{"kind": "SlowDown", "share": 0.2}},
                                     {{"kind": "delay", "seconds": 0.02}}]'
    # every 50th body of a chunk is cut; the lake's log is left alone
    curl -X PUT $control/faults -d '[{{"kind": "truncate", "every": 50,
                                      "keys": "^(?!.*/_deeplake_log/).+"}}]'
    curl -X DELETE $control/faults               # no more faults
    curl -X POST '$control/kill?seconds=20'      # dead for 20 seconds
    # another key is accepted, and the old one is expired
    curl -X PUT $control/keys -d '{{"refusal": "ExpiredToken",
        "keys": [{{"id": "new", "secret": "not-a-secret-either"}}]}}'
    curl $control/totals                         # requests, GETs, bytes, faults so far
    curl $control/log                            # each request
    curl -X DELETE $control/log

Ctrl-C ends it.
"""


def main() -> None:
    """Runs the server until Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--port', type=int, default=9000, help='of the endpoint; 0: a free one (9000)'
    )
    port = parser.parse_args().port
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory() as folder:
        lake, images = _write_lake(Path(folder))
        with ObjectStore.start(folder, port=port, key=KEY) as store:
            text = TEXT.format(
                endpoint=store.endpoint,
                control=store.control,
                url=store.upload(lake, 'demo'),
                key=KEY,
                images=images,
            )
            print(text, flush=True)
            stop.wait()


def _write_lake(folder: Path) -> tuple[Path, int]:
    """Writes the lake on disk; its path and number of images."""
    if BCCD.is_dir():
        annotations, pictures = BCCD / 'train.json', BCCD / 'images'
    else:
        annotations, pictures = folder / 'drawn.json', folder / 'drawn'
        pictures.mkdir()
        annotations.write_text(json.dumps(_draw(pictures)))
    lake = folder / 'lake'
    from_coco(annotations, pictures, lake)
    return lake, len(json.loads(annotations.read_text())['images'])


def _draw(folder: Path, count: int = 32, side: int = 320) -> dict[str, list]:
    """Draws pictures of discs; their annotations in the words of COCO."""
    dice = np.random.default_rng(0)
    coco: dict[str, list] = {
        'images': [],
        'annotations': [],
        'categories': [{'id': 1, 'name': 'disc'}],
    }
    for image in range(count):
        pixels = dice.integers(0, 60, (side, side, 3), np.uint8)
        for _ in range(5):
            radius = int(dice.integers(10, 40))
            x, y = (int(value) for value in dice.integers(radius, side - radius, 2))
            cv2.circle(pixels, (x, y), radius, dice.integers(90, 255, 3).tolist(), -1)
            size = 2 * radius
            coco['annotations'].append(
                {
                    'id': len(coco['annotations']) + 1,
                    'image_id': image,
                    'category_id': 1,
                    'bbox': [x - radius, y - radius, size, size],
                    'area': size * size,
                    'iscrowd': 0,
                }
            )
        name = f'{image:04d}.jpg'
        cv2.imwrite(str(folder / name), pixels)
        coco['images'].append(
            {'id': image, 'file_name': name, 'width': side, 'height': side}
        )
    return coco


if __name__ == '__main__':
    main()
