"""A storage that cannot be reached when a run begins is an early error with its host."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

# In processes of their own: an attempt that is given up goes on inside Deep Lake.
OPEN = """
import sys
from mmdet_deeplake_plugin import DeepLakeDataset
try:
    DeepLakeDataset(sys.argv[1], deeplake_credentials=dict(creds=eval(sys.argv[2])),
                    open_timeout=2, retry_timeout=1000, read_timeout=1000)
except Exception as error:
    print(type(error).__name__, error, flush=True)
    __import__('os')._exit(7)
"""
KEYS = dict(aws_access_key_id='a', aws_secret_access_key='b')
CLOSED = 'http://127.0.0.1:9'
PLACES = {
    'a closed port': (dict(KEYS, endpoint_url=CLOSED), {}, '127.0.0.1:9'),
    'by a reference': (
        dict(KEYS, endpoint_url='env:PLUGIN_TEST_ENDPOINT'),
        dict(PLUGIN_TEST_ENDPOINT=CLOSED),
        '127.0.0.1:9',
    ),
    'by the environment': (KEYS, dict(AWS_ENDPOINT_URL=CLOSED), '127.0.0.1:9'),
}


@pytest.mark.parametrize('place', PLACES)
def test_the_host_is_named_in_time(place):
    """Not after five minutes, whatever the limits of a run that is under way."""
    creds, variables, host = PLACES[place]
    done = subprocess.run(
        [sys.executable, '-c', OPEN, 's3://nobucket/none', repr(creds)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 7, done.stderr
    found = re.search(
        r"LakeReadError deeplake_path='s3://nobucket/none': .* \(\d attempts in "
        rf'([\d.]+) s\); {host} must answer within open_timeout=2 seconds when a run '
        'begins; check the network, the address, and endpoint_url and region in '
        'deeplake_credentials, or write a longer open_timeout',
        done.stdout,
    )
    assert found, done.stdout
    assert float(found[1]) < 10
