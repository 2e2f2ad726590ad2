"""Joins the ranks on a machine without a GPU, named in ``custom_imports``.

MMEngine's own start calls CUDA always; it is left out when the ranks are joined.
"""

import os

import torch

if 'RANK' in os.environ and not torch.cuda.is_available():
    torch.distributed.init_process_group('gloo')
