"""What a loss compares beside pixels: features of a network that was trained to see.

Either LPIPS's own, whose published weights are found by path and checked by hash, or those of an
autoencoder of one's own clips, which needs nothing from elsewhere. They stand still in training.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from .core import distributed, files
from .core.errors import MuybridgeError, RecipeError
from .core.mirror import mirrored
from .evaluation.reference_weights import Loaded, load
from .evaluation.references import PUBLISHED
from .recipe import Perceptual, Recipe
from .run import Run
from .stages import copy_of, network_of
from .training import checkpoint as checkpoints

FOLDER = "perceptual"


def settled(config: Perceptual) -> Perceptual:
    """With the hash of the weights, by which evaluation refuses to be graded by what trained.

    Raises:
        MuybridgeError: the weights are not there, or are not the published ones.
    """
    if not config.run:
        return config.with_values(sha256=_published(config).facts["weights_sha256"])
    run = Run.open(config.run)
    if run.recipe.model.kind != "vae":
        raise RecipeError(
            f"perceptual.run = {config.run}: a {run.recipe.model.kind} has no encoder of clips",
            "name a run of kind vae",
        )
    state = files.read_json(checkpoints.find(run.folder, "last") / "state.json")
    return config.with_values(sha256=state["sha256"]["average"])


def copied(recipe: Recipe, out: Path) -> None:
    """Keeps one's own network in the run, which is whole by itself."""
    given = recipe.perceptual
    if given is None or not given.run or (out / FOLDER / "recipe.yaml").exists():
        return
    if distributed.rank() == 0:
        copy_of(Path(given.run), out / FOLDER)
    mirrored(out / FOLDER)


class Distance:
    """How far apart two clips look to the network, frame by frame; read when it is first called.

    Args:
        config: of the recipe.
        folder: the run's.
    """

    def __init__(self, config: Perceptual, folder: Path) -> None:
        self.config, self.folder = config, folder

    def __call__(self, made: Tensor, real: Tensor) -> Tensor:
        """(batch, time) from clips (batch, time, 3, height, width) in [-1, 1]."""
        return self._measure(made, real)

    @cached_property
    def _measure(self) -> Callable[[Tensor, Tensor], Tensor]:
        if self.config.run:
            own = network_of(Run.open(self.folder / FOLDER))
            return lambda made, real: _own(own.to(made.device), made, real)
        network = _published(self.config).network.requires_grad_(False)
        return lambda made, real: _framewise(network.to(made.device), made, real)


def _published(config: Perceptual) -> Loaded:
    found = load(PUBLISHED[f"lpips-{config.backbone}"], config.weights or None)
    if not isinstance(found, Loaded):
        raise MuybridgeError(f"perceptual.weights = {config.weights!r}: {found.why}", found.hint)
    return found


def _framewise(network: nn.Module, made: Tensor, real: Tensor) -> Tensor:
    each: Tensor = network(made.flatten(0, 1), real.flatten(0, 1))
    return each.view(made.shape[:2])


def _own(network: nn.Module, made: Tensor, real: Tensor) -> Tensor:
    """As LPIPS without fitted weights (Zhang et al. 2018, equation 1): squared differences of
    features, each place's channels made one long; a place counts for each frame it is of."""
    # Clips of any length: the encoder sees the past alone, so that more of the first frame before
    # it changes nothing but where a place begins.
    time, more = made.shape[1], -made.shape[1] % int(network.stride[0])  # type: ignore[index]
    made, real = (torch.cat([x[:, :1].expand(-1, more, -1, -1, -1), x], 1) for x in (made, real))
    total = made.new_zeros(made.shape[:2])
    with torch.no_grad():
        there = network.features(real)  # type: ignore[operator]
    here = network.features(made)  # type: ignore[operator]
    for one, other in zip(here, there, strict=True):
        a, b = (x.float() / (x.float().norm(dim=2, keepdim=True) + 1e-6) for x in (one, other))
        each = (a - b).square().sum(2).mean((2, 3))
        total = total + each.repeat_interleave(made.shape[1] // each.shape[1], 1) / len(here)
    return total[:, -time:]
