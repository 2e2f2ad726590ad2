"""Messages of Deep Lake, as real servers made it write them, mean one thing each."""

from __future__ import annotations

import deeplake
import pytest

from mmdet_deeplake_plugin.lake.connection.failures import (
    is_access_denied,
    is_missing,
    is_network_failure,
)

INTERNAL = deeplake.StorageInternalError
FAILURES = {
    'a wrong key of Azure': (
        INTERNAL(
            '[Azure]  Error with codeAuthenticationFailed _deeplake_log/_meta/next_base '
            'Server failed to authenticate the request.'
        ),
        'denied',
    ),
    'a wrong token of Google': (
        INTERNAL(
            '[GCS] Error with code 16 _deeplake_log/_meta/next_base Permanent error, '
            'with a last message of Invalid Credentials'
        ),
        'denied',
    ),
    'a container that does not exist': (
        INTERNAL(
            '[Azure]  Error with codeContainerNotFound _deeplake_log/_meta/next_base The '
            'specified container does not exist.'
        ),
        'missing',
    ),
    'Azure that cannot be reached': (
        RuntimeError(
            'Fail to get a new connection for: http://127.0.0.1:9. Could not connect to '
            'server'
        ),
        'network',
    ),
    'another code of Google': (
        INTERNAL('[GCS] Error with code 14 next_base Service Unavailable'),
        'network',
    ),
    'another error': (RuntimeError('a column has another type'), ''),
}


@pytest.mark.parametrize(('error', 'kind'), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_of_one_kind(error, kind):
    """Denied, missing or of the network, and nothing else."""
    assert is_access_denied(error) == (kind == 'denied')
    assert is_missing(error) == (kind == 'missing')
    if not is_access_denied(error):
        assert is_network_failure(error) == (kind == 'network')
