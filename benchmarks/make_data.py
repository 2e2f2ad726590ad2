"""Makes the data that the benchmarks need and do not find.

They would make them themselves; so they need not be waited for again, and take the time
of no measurement.
"""

from __future__ import annotations

import subprocess
import sys

from _common import make_parser, say
from _data import annotations, masks, photographs
from _sizes import sizes


def main() -> None:
    """Makes what is missing."""
    parser = make_parser(__doc__)
    parser.add_argument(
        '--annotations', action='store_true', help='only what has hardly any pixels'
    )
    args = parser.parse_args()
    of = sizes(args.quick)
    if args.annotations:
        for count in of.rows:
            annotations(count)
        return
    # Beside the others, without a progress bar: two would write over each other.
    say('making annotations in the background')
    command = [sys.executable, '-W', 'ignore', *sys.argv, '--annotations']
    beside = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        photographs(of.photographs)
        masks(of.evaluated)
        if beside.wait():
            sys.exit(f'{" ".join(command)} failed')
    finally:
        beside.terminate()


if __name__ == '__main__':
    main()
