"""Asks MMDetection 3 which classes it has, and which arguments they take."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from mmdet.registry import HOOKS, MODELS, OPTIMIZERS, TASK_UTILS, TRANSFORMS
from mmdet.utils import register_all_modules

_REGISTRIES = {
    'hook': (HOOKS,),
    'model': (MODELS, TASK_UTILS),
    'optimizer': (OPTIMIZERS,),
    'transform': (TRANSFORMS,),
}


@cache
def find_class(kind: str, name: str) -> type | None:
    """Return the class of a name in a config.

    Args:
        kind: ``'hook'``, ``'model'`` (or a part of one), ``'optimizer'`` or
            ``'transform'``.
        name: Its ``type``.

    Returns:
        The class; None if MMDetection 3 does not have it.
    """
    register_all_modules(init_default_scope=False)
    if '.' in name:  # of another package, which may not be there
        return None
    found = (registry.get(name) for registry in _REGISTRIES[kind])
    return next((each for each in found if inspect.isclass(each)), None)


def refused_keys(cls: type, config: dict[str, Any]) -> list[str]:
    """Return the keys of a config that a class does not take."""
    taken = {'type', '_delete_'}
    for each in cls.__mro__:
        if '__init__' not in vars(each) or each is object:
            continue
        parameters = inspect.signature(each.__init__).parameters.values()  # type: ignore[misc]
        taken |= {parameter.name for parameter in parameters}
        # Keyword arguments go to the next class.
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    else:
        if len(taken) > 2:  # the last class takes any
            return []
    return [key for key in config if key not in taken]
