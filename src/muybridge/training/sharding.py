"""Weights, gradients and moments spread over ranks by PyTorch's FSDP2 (Zhao et al. 2023, "PyTorch
FSDP: Experiences on Scaling Fully Sharded Data Parallel"), for models that one device cannot hold.

Gradients are summed over ranks by the loop, and by FSDP for what it spreads: sums too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeGuard

import torch
from torch import Tensor, nn

from ..core import distributed
from ..core.errors import RunError
from ..objectives.base import Objective

# Imported where they are needed: they take half a second.
if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

How = Literal["none", "full", "hybrid"]


def shard(objective: Objective, how: How) -> None:
    """Spreads an objective's weights, each layer of a list called `blocks` by itself.

    Args:
        objective: on its device.
        how: "full" over all ranks; "hybrid" over those of a machine, all of it in each (HSDP).

    Raises:
        RunError: an objective that is not `even`, or of several phases, whose gradients of
            gradients FSDP cannot follow.
    """
    if how == "none" or distributed.world() == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    if len(objective.phases()) > 1 or not objective.even:
        raise RunError(
            f"training.shard = {how}: weights cannot be spread where an objective's steps are in "
            "phases, in parts, or unlike from clip to clip",
            "leave training.shard at none; processes share the batch all the same",
        )
    ranks = distributed.world()
    near = distributed.neighbours() if how == "hybrid" else ranks
    device = next(objective.parameters()).device.type
    if near < ranks:
        shape, names = (ranks // near, near), ("replicate", "shard")
        mesh = init_device_mesh(device, shape, mesh_dim_names=names)
    else:
        mesh = init_device_mesh(device, (ranks,))
    # A number without dimensions cannot be cut; the loop sums its gradient.
    whole = {p for p in objective.parameters() if p.ndim == 0}
    for layer in reversed(_layers(objective)):  # inner ones first
        if isinstance(apart := getattr(layer, "modulation", None), nn.Module):
            fully_shard(apart, mesh=mesh, ignored_params=whole)  # may be called on its own
        fully_shard(layer, mesh=mesh, ignored_params=whole)
    fully_shard(objective, mesh=mesh, ignored_params=whole)
    register_fsdp_forward_method(objective, "loss")
    spread = _spread(objective)
    for module in spread:
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)  # gloo knows no product before a sum
    # What else the first call of `loss` would do; judging comes before it.
    spread[0]._get_fsdp_state()._lazy_init()


def compile_layers(objective: nn.Module) -> None:
    """Compiles the layers that repeat, one by one: those that are alike are compiled once."""
    for layer in _layers(objective):
        layer.compile(dynamic=False)


def _layers(objective: nn.Module) -> list[nn.Module]:
    named = objective.named_modules()
    return [module for name, module in named if name.split(".")[-2:-1] == ["blocks"]]


def _spread(objective: nn.Module) -> list[FSDPModule]:
    if distributed.world() == 1:
        return []
    from torch.distributed.fsdp import FSDPModule

    return [module for module in objective.modules() if isinstance(module, FSDPModule)]


def is_spread(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether a rank has only a part of it."""
    return hasattr(tensor, "full_tensor")


def kinds(tensors: Iterable[Tensor]) -> list[list[int]]:
    """Places of the whole ones and of the spread ones, which no operation takes together."""
    places: tuple[list[int], list[int]] = ([], [])
    for place, tensor in enumerate(tensors):
        places[is_spread(tensor)].append(place)
    return [found for found in places if found]


def own(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Those that are not spread, whose sums over ranks are the loop's task."""
    return [tensor for tensor in tensors if not is_spread(tensor)]


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; of a spread one, on the CPU. Every rank must ask for it."""
    return tensor.full_tensor().to("cpu", copy=True) if is_spread(tensor) else tensor


def wholes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All of each, by the same names."""
    return {name: whole(tensor) for name, tensor in tensors.items()}


def like(value: Tensor, spread: Tensor) -> Tensor:
    """This rank's part of a value, cut as another tensor is; all of it if that one is whole, or if
    it is a number."""
    if not is_spread(spread) or not value.ndim:
        return value
    from torch.distributed.tensor import distribute_tensor

    there = value.to(spread.device)
    return distribute_tensor(there, spread.device_mesh, spread.placements, src_data_rank=None)


def clip(parameters: Sequence[nn.Parameter], most: float) -> float:
    """Scales gradients down to a norm of all of them; gives what the norm was."""
    found = [[parameters[place] for place in places] for places in kinds(parameters)]
    if len(found) == 1 and not is_spread(found[0][0]):
        return float(torch.nn.utils.clip_grad_norm_(found[0], most))
    norms = [_norm(part) for part in found]
    norm = torch.stack(norms).norm()
    for part in found:
        torch.nn.utils.clip_grads_with_norm_(part, most, norm)
    return float(norm)


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    return norm.full_tensor() if is_spread(norm) else norm


def tied(objective: Objective, loss: Tensor) -> tuple[Tensor, set[str]]:
    """The same loss, on which all parameters outside of the layers that repeat depend: ranks that
    disagree on what has a gradient would wait for each other for ever. And the names of those that
    it did not depend on.

    Called after `Objective.loss`, when those parameters are still together.
    """
    if not _spread(objective):
        return loss, set()
    (phase,) = objective.phases()
    found = {n: p for n, p in phase.parameters.items() if p.requires_grad and not is_spread(p)}
    leaves = _leaves(loss)
    lacking = {name: p for name, p in found.items() if id(p) not in leaves}
    return loss + sum((0 * p.sum() for p in lacking.values()), torch.zeros_like(loss)), set(lacking)


def _leaves(loss: Tensor) -> set[int]:
    """The ids of all parameters that a loss depends on."""
    ahead, seen = [loss.grad_fn], set()
    while ahead:
        if (node := ahead.pop()) is not None and node not in seen:
            seen.add(node)
            ahead += [before for before, _ in node.next_functions]
    return {id(node.variable) for node in seen if hasattr(node, "variable")}


@contextlib.contextmanager
def gathered(objective: Objective) -> Iterator[None]:
    """Within, each rank has all weights, and may judge and sample without the others."""
    spread = _spread(objective)
    for module in spread:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in spread[1:]:
            module.set_reshard_after_forward(True, recurse=False)
        if spread:
            spread[0].reset_iter_state()
