"""Import an ODVG file, as MM Grounding DINO is trained on, into a lake.

There is one row per line. With a label map the lines are detections, and the samples are
those of ``ODVGDataset(label_map_file=…)``; without one they are captions with phrases.
Boxes, texts and image bytes are stored exactly as they are in the files; further keys of
a line are not kept. Images of which several lines speak are stored with each of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..lake import LakeLayout, names
from ._cli import add_destination, make_parser, run_tool
from ._converter import Destination
from .formats.grounding.odvg import read_label_map, read_odvg
from .formats.images import image_compression


def from_odvg(
    ann_file: str | os.PathLike[str],
    img_dir: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    label_map: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = False,
    credentials: Any = None,
) -> str:
    """Import the images of an ODVG file.

    Args:
        ann_file: ODVG file: JSON in each line.
        img_dir: Folder to which the lines' ``filename`` s are relative.
        dest: Any Deep Lake URL to write to.
        label_map: JSON file with the name of each label, for detections. Defaults to
            None: the lines are captions.
        overwrite: Whether to replace an existing lake. Defaults to False.
        progress: Whether to draw a progress bar on stderr. Defaults to False.
        credentials: ``deeplake_credentials`` for ``dest``. Defaults to the environment.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest`` already exists.
        FileNotFoundError: If a file or an image is missing.
        ValueError: If a line is not one of the format, labels have no name, or a file is
            not an image.
        OSError: If the storage fails.
    """
    path, folder = Path(ann_file), Path(img_dir)
    target = Destination(dest, overwrite, progress, credentials)
    class_names = None if label_map is None else read_label_map(Path(label_map))
    count = None if class_names is None else len(class_names)
    # Read twice, as all of a large file would not fit into memory.
    files, num_boxes = [], 0
    for image in read_odvg(path, count):
        files.append(image.file_name)
        num_boxes += len(image.labels)
    layout = LakeLayout(
        converter='from_odvg',
        annotation_style='odvg',
        box_format='ltrb',
        image_compression=image_compression(folder, list(dict.fromkeys(files))),
        class_names=['object'] if class_names is None else class_names,
        per_box={},
        text_ids=False,
        texts=(names.TEXT, names.PHRASES) if class_names is None else (),
    )
    what = 'captions' if class_names is None else f'{count} classes'
    summary = f'{len(files)} images, {num_boxes} boxes, {what} from {path.name}'
    return target.write(layout, folder, read_odvg(path, count), len(files), summary)


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`from_odvg` from the command line and return the exit code."""
    parser = make_parser(
        'from_odvg',
        'Import an ODVG file into a Deep Lake dataset.',
        'cat_train_od.json cat/images lakes/cat_train --label-map cat_label_map.json',
    )
    add = parser.add_argument
    add('ann_file', metavar='ANN_FILE', help='ODVG file: JSON in each line')
    add('img_dir', metavar='IMG_DIR', help='folder of the images')
    add_destination(parser)
    add('--label-map', metavar='JSON', help='names of the labels of detections')
    return run_tool(from_odvg, parser, argv, progress=True)


if __name__ == '__main__':
    raise SystemExit(main())
