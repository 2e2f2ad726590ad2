"""What several tests use: lakes, samples to compare, an S3 server that fails as told."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
SHARED_DATA = ROOT.parent / 'shared' / 'data'
# Has Deep Lake 3, to write lakes in the old format.
PYTHON_V3 = ROOT / '.venv-v3' / 'bin' / 'python'
