"""Workers keep the memory that they free; counted in page faults."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mmdet_deeplake_plugin.utils.allocator import SWITCH

SCRIPT = """
import resource
import numpy as np
from mmdet_deeplake_plugin.utils.allocator import keep_freed_memory

changed, again = keep_freed_memory(), keep_freed_memory()
for number in range(60):
    if number == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    images = [np.ones((600 + number, 1000, 3), np.uint8) for _ in range(4)]
    del images
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(int(changed), int(again), faults / 200)
"""


def faults(switch: str) -> tuple[bool, bool, float]:
    """Whether it changed the allocator, also twice, and page faults per image."""
    words = subprocess.check_output(
        [sys.executable, '-c', SCRIPT], env={**os.environ, SWITCH: switch}, text=True
    ).split()
    return bool(int(words[0])), bool(int(words[1])), float(words[2])


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc only')
def test_freed_memory_is_used_again_unless_the_environment_says_no():
    """An image costs next to no page fault; switched off, some hundred."""
    changed, again, kept = faults('1')
    assert changed and not again and kept < 10
    changed, again, lost = faults('0')
    assert not changed and not again and lost > 100
