"""Pickle a batch without the contents of its large tensors and arrays.

Pickle protocol 5 passes large buffers beside the pickle. NumPy arrays take part in it by
themselves, wherever they are nested; this module adds tensors. As in PyTorch's own
transfer, tensors that share a storage still do so afterwards.
"""

from __future__ import annotations

import io
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch

SMALL = 16 << 10  # bytes; smaller buffers are part of the pickle


def dumps(batch: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Pickle a batch, or another object that can be sent to a process.

    Returns:
        The pickle and the buffers that are not part of it, in the order in which
        ``pickle.loads`` takes them.
    """
    buffers: list[pickle.PickleBuffer] = []

    def is_part(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < SMALL:
            return True
        buffers.append(buffer)
        return False

    file = io.BytesIO()
    _BatchPickler(file, 5, True, is_part).dump(batch)
    return file.getvalue(), buffers


class _BatchPickler(ForkingPickler):
    """Passes storages of plain tensors beside the pickle; the rest goes as in PyTorch."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._storages: dict[tuple[int, int], _Storage] = {}

    def reducer_override(self, obj: Any) -> Any:
        """Return how a tensor or array is rebuilt."""
        # Through a pipe, a read-only array would become a copy that can be written to.
        if type(obj) is np.ndarray and not obj.flags.writeable:
            return obj.copy(order='K').__reduce_ex__(5)
        if type(obj) is not torch.Tensor or not _is_plain(obj):
            return NotImplemented
        obj = obj.resolve_conj().resolve_neg()  # the pickle does not hold these flags
        storage = obj.untyped_storage()
        # Tensors of one array have storages of their own, which may begin together.
        place = storage.data_ptr(), storage.nbytes()
        shared = self._storages.get(place)
        if shared is None and storage.nbytes():
            shared = self._storages[place] = _Storage(storage)
        layout = obj.storage_offset(), tuple(obj.shape), obj.stride()
        return _tensor, (shared, obj.dtype, layout, obj.requires_grad)


class _Storage:
    """The memory of a tensor, not empty, in the process that sends it."""

    def __init__(self, storage: torch.UntypedStorage) -> None:
        view = torch.empty(0, dtype=torch.uint8, device='cpu').set_(storage)
        self._bytes = memoryview(view.numpy())

    def __reduce__(self) -> Any:
        return _storage, (pickle.PickleBuffer(self._bytes),)


def _is_plain(tensor: torch.Tensor) -> bool:
    return (
        tensor.device.type == 'cpu'
        and tensor.layout == torch.strided
        and not (tensor.is_quantized or tensor.is_nested)
        and (tensor.is_leaf or not tensor.requires_grad)
    )


def _storage(buffer: Any) -> torch.UntypedStorage:
    """Return a buffer as a storage, which keeps it alive."""
    return torch.frombuffer(buffer, dtype=torch.uint8).untyped_storage()


def _tensor(
    storage: torch.UntypedStorage | None,
    dtype: torch.dtype,
    layout: tuple[int, tuple[int, ...], tuple[int, ...]],
    requires_grad: bool,
) -> torch.Tensor:
    """Rebuild a tensor."""
    offset, shape, stride = layout
    if storage is None:
        tensor = torch.empty_strided(shape, stride, dtype=dtype, device='cpu')
    else:
        tensor = torch.empty(0, dtype=dtype, device='cpu')
        tensor.set_(storage, offset, shape, stride)
    return tensor.requires_grad_(requires_grad)
