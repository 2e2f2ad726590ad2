"""A forked process does not speak through the connections of the process that forked it."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Iterator

import pytest

from mmdet_deeplake_plugin.lake.connection import fork_safety
from mmdet_deeplake_plugin.lake.connection.fork_safety import cut_in_forks
from mmdet_deeplake_plugin.lake.connection.retry import check_connection
from mmdet_deeplake_plugin.lake.connection.spec import LakeSpec


@pytest.fixture()
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            end, _ = server.accept()
            with end:
                yield client, end


def _send(client: socket.socket, answers) -> None:
    try:
        client.sendall(b'from the child')
        answers.put('sent')
    except OSError as error:
        answers.put(type(error).__name__)


def _send_in_fork(client: socket.socket) -> str:
    fork = multiprocessing.get_context('fork')
    answers = fork.SimpleQueue()
    child = fork.Process(target=_send, args=(client, answers))
    child.start()
    answer = answers.get()
    child.join()
    return answer


def test_connections_to_the_port_are_cut_in_a_fork_alone(connected):
    """The process itself goes on with them, and the server hears nothing of the fork."""
    client, end = connected
    cut_in_forks(client.getpeername()[1])
    assert _send_in_fork(client) == 'BrokenPipeError'
    client.sendall(b'from the parent')
    assert end.recv(100) == b'from the parent'


@pytest.mark.parametrize('path', ['al://org/lake', 's3://bucket/lake', 'lake'])
def test_lakes_of_the_cloud_may_be_on_azure(path, monkeypatch):
    """Which their path does not say; clients of S3 and Google share no connections."""
    monkeypatch.setattr(fork_safety, '_cut_ports', ports := {1})
    check_connection(LakeSpec(path))
    assert ports == ({1, 443} if path.startswith('al') else {1})


def test_other_connections_stay(connected):
    """Such as those of ranks to each other."""
    client, end = connected
    cut_in_forks(1)
    assert _send_in_fork(client) == 'sent'
    assert end.recv(100) == b'from the child'
