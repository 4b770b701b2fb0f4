"""A classifier of the dataset's own labels: how often made clips show what was asked for.

It learns from real training clips alone, recognises, and is seen by no generator. Where in the
picture something changes, how much and how evenly over time, is put in by hand (the encoder's
energies): in small sets of footage that tells actions better than what a network finds there.
"""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core import chance
from ..core.clips import Batch
from ..core.config import Count, NotNegative, Positive, Section, Share
from ..core.errors import DataError, MuybridgeError
from ..core.progress import bar
from ..data import augment
from ..data.loader import Loader
from ..models import encoder3d
from . import weights

Array = npt.NDArray[np.float64]
Curve = list[tuple[int, float, float]]
# Clips, and the numbers of their classes (n,) or 1 and 0 for each object (n, classes).
Told = tuple[Tensor, Tensor]

# Clips that pass through the network at once.
_TOGETHER = 32
_VARIED = augment.Config(
    flip=0.5, rotate=5, zoom=0.2, brightness=0.05, contrast=0.2, saturation=0.3, speed=0.2
)
# What probabilities are divided by, in logits: candidates for the temperature.
_TEMPERATURES = tuple(2 ** (power / 8) for power in range(-16, 25))


class Config(Section):
    """How the classifier is trained."""

    of: Literal["label", "objects"] = "label"
    """What is recognised: the one label of a clip, or each of the objects that it may show."""
    encoder: encoder3d.Config = encoder3d.Config(widths=(16, 32, 64), cells=8)
    """The network that looks at form and colour."""
    steps: Count = 160
    """Updates: steps, not minutes, so that the same weights come out on a busy machine."""
    batch: Count = 24
    """Clips in an update."""
    learning_rate: Positive = 3e-3
    """At its peak; it falls as a cosine."""
    weight_decay: NotNegative = 0.1
    """Of AdamW."""
    dropout: Share = 0.3
    """Share of features left out at random."""
    smoothing: Share = 0.1
    """Label smoothing: how much of what is asked for is shared out among all classes."""
    validations: Count = 8
    """Times that both accuracies are measured; the best of these moments is kept."""
    seed: int = 0
    """Of weights, order, variation and dropout."""


class Network(nn.Module):
    """An encoder, then one linear layer."""

    temperature: Tensor

    def __init__(self, config: Config, classes: int) -> None:
        super().__init__()
        self.encoder = encoder3d.network(config.encoder)
        inputs = self.encoder.features
        self.even = nn.BatchNorm1d(inputs, affine=False)
        self.dropout = nn.Dropout(config.dropout)
        self.last = nn.Linear(inputs, classes)
        nn.init.zeros_(self.last.weight)
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (n, classes) of clips (n, time, 3, height, width), before the temperature."""
        logits: Tensor = self.last(self.dropout(self.even(self.encoder(clips))))
        return logits


@dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
        network: in evaluation mode.
        labels: what it knows, in the order of its probabilities.
        curves: (step, accuracy on training clips as they are, accuracy on validation clips).
        digest: SHA-256 of its weights.
        facts: what it was trained on and how; plain values.
    """

    network: Network
    labels: tuple[str, ...]
    curves: Curve
    digest: str
    facts: dict[str, Any]

    @torch.no_grad()
    def predict(self, clips: Tensor) -> Array:
        """Probabilities (n, classes): of labels they sum to 1, of objects each stands alone.

        The temperature that fits the validation clips best is in them (Guo et al. 2017, "On
        calibration of modern neural networks").

        Args:
            clips: float32 (n, time, 3, height, width) in [-1, 1].

        Raises:
            MuybridgeError: clips of a form that the network cannot take.
        """
        try:
            rows = [
                self.network(part.float()) for part in torch.split(clips, _TOGETHER) if len(part)
            ]
        except ValueError as error:
            raise MuybridgeError(
                f"the classifier cannot take {error}", "longer or larger clips are needed"
            ) from error
        if not rows:
            return np.zeros((0, len(self.labels)))
        logits = torch.cat(rows).double() / self.network.temperature.double()
        one = self.facts["config"]["of"] == "label"
        return np.asarray((logits.softmax(1) if one else logits.sigmoid()).numpy())


def cached(folder: Path, train_on: Loader, validation: Loader, config: Config) -> Classifier:
    """The classifier kept in `folder` for this data, these settings and this code; trained and kept
    there where there is none, or where it is damaged. A killed training begins again.

    Raises:
        DataError: as `train`.
    """
    code = [sys.modules[__name__], encoder3d, augment]
    key = weights.key_of([train_on, validation], config.model_dump(), code)
    place = Path(folder) / f"classifier-{key[:16]}"
    found = weights.kept(place, "the classifier")
    if found is not None:
        tensors, told = found
        network = Network(config, len(told["labels"])).eval()
        network.load_state_dict(tensors)
        curves = [(int(step), float(a), float(b)) for step, a, b in told["curves"]]
        digest = weights.digest_of(network)
        return Classifier(network, tuple(told["labels"]), curves, digest, told["facts"])
    made = train(train_on, validation, config)
    told = {"labels": made.labels, "curves": made.curves, "facts": made.facts}
    weights.keep(place, made.network, {"key": key, "digest": made.digest, **told})
    return made


def train(train_on: Loader, validation: Loader, config: Config) -> Classifier:
    """Trains a classifier on one split and chooses its best moment on another.

    The same loaders, settings, machine and number of threads give the same weights. Torch's own
    generator is left as it was. Clips without a label are passed over.

    Args:
        train_on: of the training split.
        validation: of the validation split.
        config: how.

    Raises:
        DataError: the dataset names no labels (objects), or fewer than two.
    """
    dataset = train_on.dataset
    labels = tuple(dataset.labels if config.of == "label" else dataset.objects)
    if len(labels) < (2 if config.of == "label" else 1):
        raise DataError(
            f"a classifier of {config.of} has nothing to tell apart: the dataset names "
            f"{', '.join(labels) or 'none'}",
            "name them in a labels file and prepare again",
        )
    varied = replace(train_on, config=train_on.config.with_values(augment=_VARIED))
    real = [_windows(one, config, len(labels)) for one in (train_on, validation)]
    for loader, (clips, _) in zip((train_on, validation), real, strict=True):
        if not len(clips):
            raise DataError(
                f"no clip of the {loader.split} split has a label",
                "label some, or let `prepare` choose the splits",
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(chance.mix(config.seed, "classifier"))
        network = Network(config, len(labels))
        curves, best = _learn(network, varied, real, config)
    network.eval()
    clips, truth = real[1]
    network.temperature.fill_(_fitting(_logits(network, clips), truth, len(validation.clips)))
    facts = {
        "config": config.model_dump(mode="json"),
        "dataset": dataset.facts["digest"],
        "split": train_on.split,
        "chosen_on": validation.split,
        "clips": [len(train_on.clips), len(validation.clips)],
        "frames": train_on.config.frames,
        "fps": train_on.config.fps,
        "size": list(train_on.config.size),
        "best_step": best,
        "temperature": float(network.temperature),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    return Classifier(network, labels, curves, weights.digest_of(network), facts)


def accuracy(probabilities: Array, truth: Array) -> Array:
    """Whether each clip is recognised: (n,), 1 or 0; of objects, the share of them told rightly.

    Args:
        probabilities: (n, classes).
        truth: numbers of classes (n,), or 1 and 0 for each object (n, classes).
    """
    if truth.ndim == 1:
        return np.asarray(probabilities.argmax(1) == truth, np.float64)
    return np.asarray(((probabilities > 0.5) == (truth > 0.5)).mean(1), np.float64)


def _learn(network: Network, varied: Loader, real: list[Told], config: Config) -> tuple[Curve, int]:
    """Trains, and leaves the network as it was at its best; its curves, and that step."""
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    every, classes = max(1, config.steps // config.validations), network.last.out_features
    curves: Curve = []
    kept, best, least = copy.deepcopy(network.state_dict()), 0, float("inf")
    with bar("classifier", config.steps) as advance:
        for step in range(1, config.steps + 1):
            clips, truth = _told(varied.batch(step - 1, config.batch), config, classes)
            if len(clips) > 1:  # one alone has no deviation to be standardised by
                network.train()
                loss = _loss(network(clips), truth, config.smoothing)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
            plan.step()
            if step % every == 0 or step == config.steps:
                network.eval()
                seen, unseen = (_logits(network, clips) for clips, _ in real)
                curves.append((step, _right(seen, real[0][1]), _right(unseen, real[1][1])))
                # By the loss: of few validation clips the accuracy is the same again and again.
                held_out = float(_loss(unseen, real[1][1], 0.0))
                if held_out <= least:
                    kept, best, least = copy.deepcopy(network.state_dict()), step, held_out
            advance()
    network.load_state_dict(kept)
    return curves, best


def _windows(loader: Loader, config: Config, classes: int) -> Told:
    """Clips of a split as they are, some moments of each where there are few."""
    count = len(loader.clips)
    return _told(loader.fixed(min(256, count * max(1, min(4, 64 // count)))), config, classes)


def _told(batch: Batch, config: Config, classes: int) -> Told:
    """The clips of which the truth is known: a label may be "not said", one past the last."""
    truth = batch.label if config.of == "label" else batch.objects
    assert truth is not None  # the dataset names labels, or objects
    known = truth < classes if config.of == "label" else torch.ones(len(truth), dtype=torch.bool)
    return batch.clips[known], truth[known]


@torch.no_grad()
def _logits(network: Network, clips: Tensor) -> Tensor:
    return torch.cat([network(part) for part in torch.split(clips, _TOGETHER)])


def _loss(logits: Tensor, truth: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy: of one label among all, or of each object by itself."""
    if truth.ndim == 1:
        return F.cross_entropy(logits, truth, label_smoothing=smoothing)
    soft = truth * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, soft)


def _right(logits: Tensor, truth: Tensor) -> float:
    probabilities = logits.softmax(1) if truth.ndim == 1 else logits.sigmoid()
    return float(accuracy(probabilities.double().numpy(), truth.numpy()).mean())


def _fitting(logits: Tensor, truth: Tensor, clips: int) -> float:
    """The temperature with which the classes of so many clips are the least surprising.

    Even where all of them are told rightly, it is not taken that the next one must be (Platt 1999,
    "Probabilistic outputs for support vector machines", targets by the rule of succession).
    """
    doubt = 1 / (clips + 2)
    surprise = [float(_loss(logits / one, truth, doubt)) for one in _TEMPERATURES]
    return _TEMPERATURES[int(np.argmin(surprise))]
