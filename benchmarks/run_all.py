"""Runs all benchmarks, one after the other, and writes the documentation.

One that fails is named at the end; the others run all the same.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from _common import make_parser, say

SCRIPTS = (
    'make_data',
    'local_throughput',
    'overhead',
    'startup_memory',
    'evaluation',
    'predictions',
    'object_storage',
    'storage_patterns',
    'scale',
    'gpu',
)


def main() -> int:
    """Returns the exit code: 1 if a benchmark failed."""
    parser = make_parser(__doc__)
    parser.add_argument(
        '--only', nargs='+', choices=SCRIPTS, default=SCRIPTS, help='some of them'
    )
    args = parser.parse_args()
    options = ['--quick'] if args.quick else []
    if args.repetitions:
        options += ['--repetitions', str(args.repetitions)]
    failed = []
    for name in args.only:
        began = time.monotonic()
        say(f'== {name}')
        script = Path(__file__).with_name(f'{name}.py')
        done = subprocess.run([sys.executable, '-W', 'ignore', str(script), *options])
        say(f'== {name}: {time.monotonic() - began:.0f} s')
        if done.returncode:
            failed.append(name)
    writer = Path(__file__).with_name('write_docs.py')
    subprocess.run([sys.executable, str(writer)], check=True)
    if failed:
        say(f'failed: {", ".join(failed)}')
    return 1 if failed else 0


if __name__ == '__main__':
    raise SystemExit(main())
