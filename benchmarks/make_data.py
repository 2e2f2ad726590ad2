"""Makes the data that the benchmarks need and do not find.

They would make them themselves; so they need not be waited for again, and take the time
of no measurement.
"""

from __future__ import annotations

from _common import make_parser
from _data import annotations, masks, photographs
from _sizes import sizes


def main() -> None:
    """Makes what is missing."""
    parser = make_parser(__doc__)
    args = parser.parse_args()
    of = sizes(args.quick)
    photographs(of.photographs)
    masks(of.evaluated)
    for count in of.rows:
        annotations(count)


if __name__ == '__main__':
    main()
