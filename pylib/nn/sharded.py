"""Tensors of which every process of a run holds a part."""

from __future__ import annotations

from torch import Tensor


def held(tensor: Tensor) -> Tensor:
    """This process's rows of a sharded tensor, in the same memory; any other tensor as it is.

    torch's type of sharded tensors is not asked for by name: its import costs a second.
    """
    to_local = getattr(tensor, "to_local", None)
    return tensor if to_local is None else to_local()
