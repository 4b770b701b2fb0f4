"""Scores of what was measured, each with its floor and an interval that says what it is of."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..core.errors import MuybridgeError
from . import frechet, intervals
from .comparison import Difference, compare_statistic
from .distances import LEAST, Statistic, standardised
from .kernel import kernel_distance
from .manifest import Score
from .manifold import manifold
from .measured import Extractor, Features, Measured

Array = npt.NDArray[np.float64]

OF_MEAN = "the mean over clips, for other clips from the same source"
OWN = "an offline distance of this tool's own; not FID or FVD, not comparable to papers"


@dataclass(frozen=True)
class Meaning:
    """What a figure of single clips says, for its score: their mean.

    Attributes:
        better: "near" means near to the real clips' own figure.
        unit: of the score; "%" turns shares into percent.
        note: what it catches.
        facts: for the manifest.
        share: each clip's figure is 0 or 1.
    """

    better: Literal["lower", "higher", "near"]
    unit: str = ""
    note: str = ""
    facts: Mapping[str, Any] = ()  # type: ignore[assignment]
    share: bool = False


def of_figures(
    made: Measured,
    real: Measured,
    meanings: Mapping[str, Meaning],
    manifest: dict[str, Any],
) -> list[Score]:
    """The means of the figures of single clips, beside those of real ones."""
    return [
        _mean(name, meaning, made, real, manifest)
        for name, meaning in meanings.items()
        if name in made.figures and np.isfinite(made.figures[name]).any()
    ]


def _mean(
    name: str, meaning: Meaning, made: Measured, real: Measured, manifest: dict[str, Any]
) -> Score:
    values, owners = _told(made, name)
    factor = 100.0 if meaning.unit == "%" else 1.0
    floor = None
    if name in real.figures and np.isfinite(real.figures[name]).any():
        floor = factor * float(np.nanmean(per_clip(real.figures[name])))
    interval: tuple[float, float] | None = None
    if len(set(owners)) < 2:
        pass  # nothing tells how much one piece of footage is owed to chance
    elif meaning.share:
        interval = intervals.share_interval(values, owners=owners)
    else:
        interval = intervals.mean_interval(values, owners)
    return Score(
        name,
        factor * float(values.mean()),
        meaning.better,
        manifest | dict(meaning.facts) | {"subject_measured_clips": len(values)},
        interval=None if interval is None else (factor * interval[0], factor * interval[1]),
        interval_of=OF_MEAN,
        floor=floor,
        target=floor if meaning.better == "near" else None,
        unit=meaning.unit,
        note=meaning.note,
        values=tuple(float(f"{factor * value:.6g}") for value in per_clip(made.figures[name])),
    )


def _told(made: Measured, name: str) -> tuple[Array, tuple[str, ...]]:
    """The figures that are there, and whose clips they are of."""
    figures = per_clip(made.figures[name])
    there = np.isfinite(figures)
    owners = zip(made.clips.owners, there, strict=True)
    return figures[there], tuple(owner for owner, told in owners if told)


def per_clip(figures: Array) -> Array:
    """Figures (n,) as they are, those (n, time) as means over the frames that have one."""
    if figures.ndim == 1:
        return figures
    count = np.isfinite(figures).sum(1)
    return np.where(count > 0, np.nansum(figures, 1) / np.maximum(count, 1), np.nan)


def of_features(
    extractor: Extractor,
    title: str,
    made: Measured,
    real: Measured,
    other: Measured | None,
    manifest: dict[str, Any],
    note: str = OWN,
) -> list[Score]:
    """The Frechet distance of one extractor's features, with floor and interval; and the same
    extrapolated to any number of clips, where there are enough.

    Raises:
        MuybridgeError: fewer than two clips on a side.
    """
    statistic = _scaled(extractor, frechet.frechet)
    facts = manifest | _facts(extractor, made) | {"covariance_divisor": "n-1"}
    score = _of_statistic(title, statistic, extractor.name, made, real, other, facts, note)
    return [score, *_extrapolated(extractor, title, made, real, facts)]


def _scaled(extractor: Extractor, statistic: Statistic) -> Statistic:
    """The statistic of features in the scale in which this extractor's are compared."""
    return standardised(statistic) if extractor.standardised else statistic


def _facts(extractor: Extractor, made: Measured) -> dict[str, Any]:
    """What the manifest says of the features."""
    return extractor.facts | {
        "features": int(made.features[extractor.name].shape[-1]),
        "standardised": "on the real clips" if extractor.standardised else "no",
    }


def differences(
    distances: Sequence[tuple[str, Extractor, str]],
    first: Measured,
    second: Measured,
    real: Measured,
) -> list[Difference]:
    """How the Frechet distances of two sets to the same real clips differ, by title; those of
    features of frames are left out, since frames of a clip are not independent."""
    found = []
    for title, extractor, _ in distances:
        statistic = _scaled(extractor, frechet.frechet)
        (a, _), (b, _), (c, owners) = (rows(m, extractor.name) for m in (first, second, real))
        if first.features[extractor.name].ndim == 2:
            with contextlib.suppress(ValueError):  # too few clips: the two intervals are left
                found.append(compare_statistic(title, statistic, a, b, c, owners))
    return found


def owed_to_few(extractor: Extractor, real: Measured, count: int) -> float | None:
    """What a Frechet distance of `count` clips owes to their small number (see
    `frechet.expected_bias`); None where there are too few real clips to tell."""
    found, _ = rows(real, extractor.name)
    each = count if real.features[extractor.name].ndim == 2 else count * len(found) // len(real)
    if extractor.standardised:
        deviation = found.std(0)
        found = (found - found.mean(0)) / np.where(deviation < LEAST, 1.0, deviation)
    try:
        return frechet.expected_bias(found, each)
    except ValueError:
        return None


def of_kernel(
    extractor: Extractor,
    title: str,
    made: Measured,
    real: Measured,
    other: Measured | None,
    manifest: dict[str, Any],
    note: str = OWN,
) -> list[Score]:
    """The unbiased kernel distance of one extractor's features.

    Raises:
        MuybridgeError: fewer than two clips on a side.
    """
    statistic = _scaled(extractor, kernel_distance)
    facts = manifest | _facts(extractor, made)
    facts["kernel"] = "(x'y / d + 1)^3, unbiased, all pairs"
    found = _of_statistic(
        title, statistic, extractor.name, made, real, other, facts, note, kind="signed"
    )
    return [found]


def of_manifold(
    names: Sequence[str],
    facts: Mapping[str, Any],
    made: Measured,
    real: Measured,
    other: Measured | None,
    k: int,
    manifest: dict[str, Any],
) -> list[Score]:
    """Precision, recall, density and coverage on the features of some extractors side by side.

    Raises:
        MuybridgeError: no more clips on a side than neighbours.
    """
    sides = [made, real] + ([other] if other else [])
    for one in sides:
        one.features["+".join(names)] = np.concatenate([one.features[n] for n in names], 1)
    notes = {
        "precision": "share of samples among the real clips: quality",
        "recall": "share of real clips among the samples: variety",
        "density": "how many real clips' neighbourhoods a sample lies in; about 1 for real clips",
        "coverage": "share of real clips with a sample in their neighbourhood: variety",
    }
    scores = []
    for name, note in notes.items():

        def statistic(generated: Array, true: Array, name: str = name) -> float:
            return float(getattr(manifold(generated, true, k), name))

        scores.append(
            _of_statistic(
                name, standardised(statistic), "+".join(names), made, real, other,
                manifest | dict(facts) | {"neighbours": k, "standardised": "on the real clips"},
                note, "near" if name == "density" else "higher",
                "distance" if name == "density" else "share",
            )
        )  # fmt: skip
    return scores


def _of_statistic(
    title: str,
    statistic: Statistic,
    features: str,
    made: Measured,
    real: Measured,
    other: Measured | None,
    manifest: dict[str, Any],
    note: str,
    better: Literal["lower", "higher", "near"] = "lower",
    kind: Literal["distance", "signed", "share"] = "distance",
) -> Score:
    if min(len(made), len(real)) < 2:
        raise MuybridgeError(
            f"{title} needs two or more clips on each side, not {len(made)} and {len(real)}",
            "generate more, or add footage",
        )
    (a, own), (b, owners) = rows(made, features), rows(real, features)
    try:
        value = statistic(a, b)
    except ValueError as error:
        raise MuybridgeError(
            f"{title} cannot be had: {error}", "generate more, or add footage"
        ) from error
    interval: tuple[float, float] | None = None
    try:
        interval = intervals.statistic_interval(statistic, a, b, own, owners, kind=kind).interval
    except ValueError as error:  # too few clips, or of too few pieces of footage
        note = f"{note}; no interval: {error}".removeprefix("; ")
    floor = _floor(statistic, b, None if other is None else rows(other, features)[0][: len(a)])
    return Score(
        title,
        value,
        better,
        manifest,
        interval=interval,
        interval_of=intervals.Estimate.INTERVAL_OF,
        floor=floor,
        target=floor if better == "near" else None,
        note=note,
    )


def _floor(statistic: Statistic, real: Array, other: Array | None) -> float | None:
    """What real clips score: other ones, or else one half against the other; None of too few."""
    try:
        return statistic(real[::2], real[1::2]) if other is None else statistic(other, real)
    except ValueError:
        return None


def rows(measured: Measured, features: str) -> tuple[Array, tuple[str, ...]]:
    """Features (n, d), frames as rows of their own where they were measured so; and each row's
    owner."""
    found: Features = measured.features[features]
    owners = measured.clips.owners
    if found.ndim == 3:
        owners = tuple(owner for owner in owners for _ in range(found.shape[1]))
        found = found.reshape(-1, found.shape[-1])
    return found.astype(np.float64), owners


def _extrapolated(
    extractor: Extractor, title: str, made: Measured, real: Measured, manifest: dict[str, Any]
) -> list[Score]:
    """The distance that ever more clips would come to, where there are enough to tell."""
    (a, _), (b, _) = rows(made, extractor.name), rows(real, extractor.name)
    if made.features[extractor.name].ndim == 3:
        return []  # frames of one clip are not so many independent ones

    def plain(generated: Array, true: Array) -> float:
        return frechet.extrapolated(generated, true).value

    try:
        value = _scaled(extractor, plain)(a, b)
    except ValueError:
        return []  # too few clips for the number of features
    return [
        Score(
            f"{title}, of any number of clips", value, "lower",
            manifest | {"extrapolated": "a line over 1 / clips (Chong and Forsyth 2020)"},
            note="may fall below 0 by chance",
        )
    ]  # fmt: skip
