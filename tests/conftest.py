"""Fixtures that every test may use: real images, and lakes made of them."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Two test processes share two cores: threads of their own would only get in the way, and
# ones that spin while they wait slow down whatever else runs.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
# A shell starts background jobs with Ctrl-C ignored, which children would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402
from helpers import SHARED_DATA  # noqa: E402


@pytest.fixture(autouse=True)
def no_stale_copies() -> None:
    """Forgets what MMEngine's ``get_subset`` remembers of datasets that are gone.

    It gives such a one in place of any object that lies at the same address by now.
    """
    from mmengine.dataset import BaseDataset

    (memo,) = BaseDataset._copy_without_annotation.__defaults__
    if memo is not None:  # the onedl fork does not remember any
        memo.clear()


@pytest.fixture(scope='module', autouse=True)
def no_calls_left() -> Iterator[None]:
    """Waits for calls of Deep Lake that hung and were given up: no process may fork then.

    One that meets a server which is gone ends after 42 s.
    """
    yield
    module = sys.modules.get('mmdet_deeplake_plugin.lake.connection.fork_safety')
    if module is not None:
        module._wait(module._running(), 120)


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """Folder with the real images (``bccd``, ``coco_cc``) beside the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip('real test images are absent: ../shared/data does not exist')
    return SHARED_DATA


@pytest.fixture(scope='session')
def coco_files(shared_data: Path) -> Callable[[str], dict]:
    """Where the COCO files of a data set lie, as arguments of ``CocoDataset``."""

    def of(name: str) -> dict:
        if name == 'coco_cc':
            root, file = shared_data / 'coco_cc', 'instances.json'
        else:
            root, file = shared_data / 'bccd', f'{name.partition("_")[2]}.json'
        return dict(ann_file=str(root / file), data_prefix=dict(img=str(root / 'images')))

    return of


@pytest.fixture(scope='session')
def lake(
    coco_files: Callable[[str], dict], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """Path of the lake made of ``bccd_train``, ``bccd_val`` or ``coco_cc``."""
    from mmdet_deeplake_plugin.tools.from_coco import from_coco

    folder = tmp_path_factory.mktemp('lakes')

    def of(name: str) -> str:
        path = folder / name
        if not path.exists():
            files = coco_files(name)
            from_coco(files['ann_file'], files['data_prefix']['img'], str(path))
        return str(path)

    return of


@pytest.fixture(scope='session')
def panoptic_root(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``panoptic.json`` of ``coco_cc`` with folders of maps, and its ``images``."""
    from helpers.panoptic_data import make_panoptic

    root = tmp_path_factory.mktemp('panoptic_files')
    make_panoptic(shared_data / 'coco_cc' / 'instances.json', root)
    (root / 'images').symlink_to(shared_data / 'coco_cc' / 'images')
    return root


@pytest.fixture(scope='session')
def panoptic_lake(panoptic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the lake made of ``panoptic_root``."""
    from mmdet_deeplake_plugin.tools.from_coco import from_coco

    path = tmp_path_factory.mktemp('lakes') / 'panoptic'
    from_coco(panoptic_root / 'panoptic.json', panoptic_root / 'images', path)
    return str(path)


@pytest.fixture(scope='session')
def semantic_lake(panoptic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a lake of the instances of ``coco_cc`` with semantic maps beside them."""
    from helpers.panoptic_data import CLASSES

    from mmdet_deeplake_plugin.tools.from_coco import from_coco

    images, path = panoptic_root / 'images', tmp_path_factory.mktemp('lakes') / 'semantic'
    from_coco(
        images.resolve().parent / 'instances.json',
        images,
        path,
        seg_dir=panoptic_root / 'semantic',
        seg_classes=CLASSES,
    )
    return str(path)


@pytest.fixture
def file_server() -> Iterator[Callable[[Path], str]]:
    """Starts web servers on loopback: folder -> address."""
    servers = []

    def start(folder: Path) -> str:
        handler = functools.partial(_QuietHandler, directory=str(folder))
        server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f'http://127.0.0.1:{server.server_port}'

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope='session')
def voc_root(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BCCD in the folder layout of Pascal VOC, by links."""
    root = tmp_path_factory.mktemp('voc')
    (root / 'ImageSets').mkdir()
    (root / 'JPEGImages').symlink_to(shared_data / 'bccd' / 'images')
    (root / 'Annotations').symlink_to(shared_data / 'bccd' / 'voc_annotations')
    (root / 'ImageSets' / 'Main').symlink_to(shared_data / 'bccd' / 'splits')
    return root


@pytest.fixture(scope='session')
def voc_lake(
    voc_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """Path of the lake made of a split of BCCD's Pascal VOC files."""
    from mmdet_deeplake_plugin.tools.from_voc import from_voc

    folder = tmp_path_factory.mktemp('voc_lakes')

    def of(split: str) -> str:
        path = folder / split
        if not path.exists():
            from_voc(voc_root, split, str(path), classes=['RBC', 'WBC', 'Platelets'])
        return str(path)

    return of
