"""Runs a command that is killed with the process that started it.

``python with_parent.py PARENT COMMAND …``: the command takes the place of this process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == '__main__':
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit('the process that started this one has ended')
    os.execv(sys.argv[2], sys.argv[2:])
