"""The host of a lake on Azure is tried before Deep Lake tries it, which might abort."""

from __future__ import annotations

import pytest

from mmdet_deeplake_plugin.lake.connection.credentials import Credentials
from mmdet_deeplake_plugin.lake.connection.retry import check_connection
from mmdet_deeplake_plugin.lake.connection.spec import LakeSpec

CLOSED = 'http://127.0.0.1:9/nobody'
VARIABLES = ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy')


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch) -> None:
    """Whatever this machine is set to."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def lake_at(endpoint: str) -> LakeSpec:
    """A lake on Azure behind another address."""
    creds = dict(account_name='nobody', account_key='c2VjcmV0', blob_endpoint=endpoint)
    return LakeSpec(
        'az://nobody/lakes', credentials=Credentials.from_config({'creds': creds})
    )


def test_a_closed_port_is_an_error():
    """It names host and port."""
    with pytest.raises(ConnectionError, match=r'cannot connect to 127\.0\.0\.1:9: '):
        check_connection(lake_at(CLOSED))


@pytest.mark.parametrize(
    'variables',
    [dict(http_proxy='http://proxy:1'), dict(all_proxy='http://proxy:1')],
    ids=lambda variables: next(iter(variables)),
)
def test_behind_a_proxy_nothing_is_tried(variables, monkeypatch):
    """The host need not be reachable from here."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    check_connection(lake_at(CLOSED))


@pytest.mark.parametrize(
    'variables',
    [
        dict(https_proxy='http://proxy:1'),
        dict(http_proxy='http://proxy:1', no_proxy='localhost,127.0.0.1'),
    ],
    ids=['of another scheme', 'not for this host'],
)
def test_a_proxy_that_is_not_used_counts_for_nothing(variables, monkeypatch):
    """Deep Lake connects to the host itself."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConnectionError, match='cannot connect'):
        check_connection(lake_at(CLOSED))


@pytest.mark.parametrize('endpoint', ['localhost:10000', 'nobody.blob.example'])
def test_an_address_without_scheme_is_refused(endpoint):
    """The error names the key and shows a URL."""
    text = (
        rf"\['blob_endpoint'\] must be a URL, found '{endpoint}'; .*'https://{endpoint}'"
    )
    with pytest.raises(ValueError, match=text):
        check_connection(lake_at(endpoint))
