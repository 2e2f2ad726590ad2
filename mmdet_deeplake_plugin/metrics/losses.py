"""Hand the losses of images from the hook that computes them to what writes them."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.logging import MessageHub

_LOSSES = 'deeplake_losses'


def keep_losses(losses: Mapping[str, float]) -> None:
    """Keep the losses of the batch that is predicted next, in place of all before.

    Args:
        losses: ``img_path`` to loss.
    """
    hub = MessageHub.get_current_instance()
    hub.update_info(_LOSSES, dict(losses), resumed=False)  # checkpoints stay as they are


def loss_of(path: str) -> float | None:
    """Return the loss of an image of the current batch, ``None`` if it is not known.

    Args:
        path: Its ``img_path``.
    """
    losses = MessageHub.get_current_instance().runtime_info.get(_LOSSES) or {}
    return losses.get(path)
