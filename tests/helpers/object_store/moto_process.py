"""Runs ``moto``'s S3 server: ``python -m helpers.object_store.moto_process PARENT``.

Prints its port; ends with the process whose id is PARENT.
"""

from __future__ import annotations

import json
import sys
import threading

from moto.server import ThreadedMotoServer

from helpers.object_store.parent import end_with_parent

if __name__ == '__main__':
    end_with_parent(int(sys.argv[1]))
    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    server.start()
    print(json.dumps({'port': server.get_host_and_port()[1]}), flush=True)
    threading.Event().wait()
