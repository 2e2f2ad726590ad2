"""How a running proxy is steered: JSON over HTTP, on a port of its own.

=======================  =====================================================
``PUT /faults``          a list of faults, as objects with ``Fault``'s fields;
                         replaces those before
``DELETE /faults``       no more faults
``PUT /keys``            ``{"keys": [{"id", "secret", "token"}], "refusal"}``
``POST /kill?seconds=``  dies; without ``seconds`` until revived
``POST /revive``         listens again
``GET /log?keys=``       the requests, those whose key the expression matches
``GET /totals?keys=``    sums over them
``DELETE /log``          forgets them
``DELETE /copies``       forgets copied objects, when those behind have changed
=======================  =====================================================
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from helpers.object_store.faults import Fault, FaultPlan
from helpers.object_store.signature import Key
from helpers.object_store.wire import Answer, Request, read_body, read_head

if TYPE_CHECKING:
    from helpers.object_store.proxy import Proxy


async def serve_control(proxy: Proxy) -> int:
    """Listens for what the proxy shall do, and returns the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_head(reader):
            await read_body(request, reader, writer)
            try:
                status, result = 200, await _do(proxy, request)
            except (KeyError, TypeError, ValueError) as error:
                status, result = 400, str(error)
            body = (json.dumps(result) + '\n').encode()
            writer.write(Answer(status, {}, body).head() + body)
        writer.close()

    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    return int(server.sockets[0].getsockname()[1])


async def _do(proxy: Proxy, request: Request) -> Any:
    query = {name: values[0] for name, values in parse_qs(request.query).items()}
    action = f'{request.method} {request.path}'
    given: Any = json.loads(request.body) if request.body else None
    if action == 'PUT /faults':
        proxy.plan = FaultPlan([Fault(**fault) for fault in given])
    elif action == 'DELETE /faults':
        proxy.plan = FaultPlan()
    elif action == 'PUT /keys':
        proxy.accept([Key(**key) for key in given['keys']], given['refusal'])
    elif action == 'POST /kill':
        proxy.kill(float(query['seconds']) if 'seconds' in query else None)
    elif action == 'POST /revive':
        await proxy.revive()
    elif action == 'GET /log':
        await proxy.settle()
        return proxy.log.select(query.get('keys', ''))
    elif action == 'GET /totals':
        await proxy.settle()
        return asdict(proxy.log.totals(query.get('keys', '')))
    elif action == 'DELETE /log':
        proxy.log.clear()
    elif action == 'DELETE /copies':
        proxy.objects.forget()
    else:
        raise ValueError(f'{action} is nothing that can be done')
    return 'done'
