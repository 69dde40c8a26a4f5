"""Parameters shared out over the processes of a run: torch's FSDP2 (`fully_shard`), layer by layer.

Every process holds an equal share of the rows of each parameter, of its gradient, of Adam's
moments and of the teacher. A layer's rows are fetched from all when its turn comes, in the forward
and in the backward pass, and forgotten after it; what lies outside the layers is fetched for a
micro-batch at a time. The sums are those of the run that is not sharded.

Fetching is collective: all processes must come to the same layers in the same order. Hence blocks
that LayerDrop skips are visited (skips stay a matter of the micro-batch, as without sharding;
drawing the same in all processes would make training depend on their number), what a process did
not reach has a gradient of zeros, and validation gives every process equally many batches.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pylib.corpus.errors import UserError
from pylib.nn.decoder import DecoderBlock
from pylib.nn.length_regulator import ConvBlock
from pylib.nn.sharded import held
from pylib.nn.transformer import Block, Transformer
from pylib.training.config import LoadedConfig
from pylib.training.distributed import Processes

LAYERS = (Block, DecoderBlock, ConvBlock)  # what is fetched at a time


def check(loaded: LoadedConfig) -> None:
    """Refuse what cannot be done with sharded parameters.

    Raises UserError naming where `run.sharding` was written.
    """
    config = loaded.config
    if config.run.sharding == "none":
        return
    where = f"{loaded.origins.get('run.sharding', 'configuration')}: run.sharding = full"
    if config.system == "fhvae":
        raise UserError(
            f"{where}: fhvae has no layers to share out, and its table of sequence means is "
            "estimated as a whole: set run.sharding = none, the model fits any GPU"
        )
    if config.run.compile:
        raise UserError(
            f"{where} and run.compile = true: compiled layers are not fetched one by one: set "
            "one of them to its default (run.sharding where the model fits a GPU: it is faster)"
        )


def shard(system: nn.Module, where: Processes) -> None:
    """Move the system to the device, a layer at a time, keeping this process's share of each.

    All processes must have drawn or loaded the same weights (they have the same seed).
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    # A block's second output is a view. Nobody writes into it, which is what torch warns of.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(where.device.type, (where.world,))
    for module in [item for item in system.modules() if isinstance(item, LAYERS)]:
        _sum_gradients(fully_shard(module, mesh=mesh))
    _sum_gradients(fully_shard(system, mesh=mesh))
    for module in system.modules():
        if isinstance(module, Transformer):
            module.visit_all = True
    if hasattr(system, "log_probs"):  # another way in than `forward`
        register_fsdp_forward_method(system, "log_probs")
    for buffer in system.buffers():
        where.broadcast_(buffer)


def _sum_gradients(module: Any) -> None:
    """Sums in float32 over processes: FSDP2 would take the mean, and the count divides later."""
    module.set_gradient_divide_factor(1.0)
    module.set_force_sum_reduction_for_comms(True)  # gloo knows no other, and it divides by 1


def rows_of(count: int, rank: int, world: int) -> tuple[int, int]:
    """First row, and the one after the last, that a process holds of `count`: FSDP2's shares.

    Equal shares but for the last ones, which may be smaller or empty.
    """
    share = -(-count // world)
    return min(rank * share, count), min((rank + 1) * share, count)


def gather(part: Tensor, shape: torch.Size, where: Processes) -> Tensor:
    """The whole tensor of `shape` from the rows of all processes."""
    share = rows_of(shape[0], 0, where.world)[1]
    padded = part.new_zeros(share, *shape[1:])
    padded[: part.shape[0]] = part
    whole = part.new_empty(share * where.world, *shape[1:])
    dist.all_gather_single(whole, padded)
    return whole[: shape[0]]


@torch.no_grad()
def whole_state(
    system: nn.Module, optimizer: torch.optim.Optimizer, where: Processes
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State of a sharded system and its optimizer as one process would have it, on the CPU.

    All processes must call it; the first gets the values, the others nothing. One tensor at a
    time passes through the device.
    """
    model: dict[str, Tensor] = {}
    for name, item in system.state_dict().items():
        value = item if held(item) is item else gather(held(item), item.shape, where)
        if where.first:
            model[name] = value.to("cpu", copy=True)
    own = optimizer.state_dict()
    shapes = [item.shape for item in system.parameters()]
    state: dict[int, dict[str, Tensor]] = {}
    for index, values in sorted(own["state"].items()):
        for key, item in values.items():
            value = gather(item, shapes[index], where) if item.dim() else item
            if where.first:
                state.setdefault(index, {})[key] = value.to("cpu", copy=True)
    return model, {"state": state, "param_groups": own["param_groups"]}


def cut(payload: Mapping[str, Any], system: nn.Module, where: Processes) -> dict[str, Any]:
    """A whole checkpoint with this process's rows of what is shared out."""
    shared = {name for name, item in system.state_dict().items() if held(item) is not item}

    def rows(value: Tensor) -> Tensor:
        first, end = rows_of(value.shape[0], where.rank, where.world)
        return value[first:end]

    model = {name: rows(v) if name in shared else v for name, v in payload["model"].items()}
    state = {
        index: {key: rows(item) if item.dim() else item for key, item in values.items()}
        for index, values in payload["optimizer"]["state"].items()
    }
    return {**payload, "model": model, "optimizer": {**payload["optimizer"], "state": state}}
