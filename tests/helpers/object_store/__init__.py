"""A real S3 server on the loopback, for the tests, that fails when it is told to.

Two processes stand behind :class:`ObjectStore`: ``moto`` keeps the objects, and a
proxy in front of it checks signatures, adds faults, and logs every request. Both are
processes of their own because Deep Lake may hold the interpreter while it waits for an
answer, and both end with the process that started them, however that one ends.

:class:`AzureStore` and :class:`GoogleStore` do the same for Azure and Google, with an
emulator in the place of ``moto``.

What it does not cover: TLS on S3, bucket names as host names, signed URLs, the signatures of
the pieces of a chunked upload. Bodies of uploads are held in memory.
"""

from helpers.object_store.azure import AzureStore
from helpers.object_store.faults import CHUNK_KEYS, Fault
from helpers.object_store.google import GoogleStore
from helpers.object_store.log import Record, Totals
from helpers.object_store.signature import Key
from helpers.object_store.store import ObjectStore

__all__ = [
    'CHUNK_KEYS',
    'AzureStore',
    'Fault',
    'GoogleStore',
    'Key',
    'ObjectStore',
    'Record',
    'Totals',
]
