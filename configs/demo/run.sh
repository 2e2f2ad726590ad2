#!/usr/bin/env bash
# The main workflow on real photographs: images -> lakes -> stock train.py and test.py ->
# predictions in the lake -> training on the worst images. `make demo` runs it; all output
# goes to demo_out/.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=demo_out
config=configs/demo/rtmdet_tiny_tree-crowns_cpu.py
stock=$(python -c 'import mmdet, os; print(os.path.dirname(mmdet.__file__))')/.mim/tools
wheel=deepforest-2.1.0-py3-none-any.whl
# torch >= 2.6 rejects MMEngine's checkpoints unless they are marked as trusted.
export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1
# Threads that spin while they wait slow down whatever else runs on the machine.
export OMP_WAIT_POLICY=PASSIVE
mkdir -p $out

echo '== 1/7 aerial photographs with tree crowns (package deepforest, MIT licence)'
if [ ! -d $out/photos ]; then
    [ -f $out/$wheel ] || python -m pip download --quiet --no-deps --dest $out deepforest==2.1.0
    python - "$out" "$wheel" <<'PYTHON'
import sys, zipfile
from pathlib import Path

out, wheel = Path(sys.argv[1]), sys.argv[2]
photos = ('2019_YELL_2_528000_4978000_image_crop2', '2019_YELL_2_541000_4977000_image_crop',
          'OSBS_029')
(out / 'photos').mkdir()
with zipfile.ZipFile(out / wheel) as archive:
    for name in (f'{photo}{suffix}' for photo in photos for suffix in ('.png', '.xml')):
        (out / 'photos' / name).write_bytes(archive.read(f'deepforest/data/{name}'))
PYTHON
fi

echo '== 2/7 tiles of 320 pixels, split into train and val'
python configs/demo/tile.py $out/photos $out/tiles --overwrite

echo '== 3/7 two lakes'
python -m mmdet_deeplake_plugin.tools.from_voc $out/tiles train $out/lakes/train --overwrite
python -m mmdet_deeplake_plugin.tools.from_voc $out/tiles val $out/lakes/val --overwrite

echo '== 4/7 stock tools/train.py on the lakes'
rm -rf $out/work_dir
python "$stock/train.py" $config --work-dir $out/work_dir

echo '== 5/7 stock tools/test.py: scores, and pictures of predictions over ground truth'
checkpoint=$(ls $out/work_dir/best_*.pth)
python "$stock/test.py" $config "$checkpoint" --work-dir $out/work_dir --show-dir pictures \
    | tee $out/test.log


echo '== 6/7 stock tools/test.py on the training tiles: predictions into their lake'
loop=configs/demo/rtmdet_tiny_tree-crowns_worst_cpu.py
python "$stock/test.py" $loop "$checkpoint" --work-dir $out/loop_dir
# A page to look at what it got wrong, and its 32 worst tiles as a view.
python -m mmdet_deeplake_plugin.tools.triage $out/lakes/train@runs/demo --worst 32 --by fn \
    --tag worst --out $out/page --overwrite

echo '== 7/7 stock tools/train.py on the 32 tiles with the most crowns that were missed'
python "$stock/train.py" $loop --work-dir $out/loop_dir --cfg-options load_from="$checkpoint" \
    | tee $out/loop.log

pictures=$(ls -d $out/work_dir/*/pictures | tail -1)
echo
echo '== done'
grep -E 'Average (Precision|Recall)' $out/test.log || true
echo "checkpoint: $checkpoint"
echo "loop:       $(grep -oE 'coco/bbox_mAP_50: [0-9.]+' $out/loop.log | tail -1) on the val tiles after 4 more epochs"
echo "page:       $out/page/index.html (the worst tiles, with what was missed)"
echo "pictures:   $pictures ($(ls "$pictures" | wc -l) images: left ground truth, right prediction)"
