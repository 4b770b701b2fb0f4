"""The measures, by the names under which they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..core.errors import DataError, MuybridgeError
from ..core.measures import ms_ssim_scales
from ..data.loader import Loader
from . import (
    classifier,
    distances,
    following,
    learned,
    physics,
    pictures,
    similarity,
)
from . import reference_features as published
from .clip_sets import ClipSet
from .flow import settings as flow_settings
from .inception_score import inception_score
from .manifest import Score
from .measured import Extractor, Gauge, Measured
from .metrics import check_names
from .plots import learning
from .references import Missing
from .scoring import OWN, Meaning, rows
from .temporal import measure as over_time
from .tracker import KEYS, observe

if TYPE_CHECKING:
    from .suite import Config, Ground

Array = npt.NDArray[np.float64]

TRACKER = 2  # raised when what it finds changes

_TIME = {
    "warping_error": ("warping error", "frames against the next one brought back by the flow"),
    "unevenness": ("unevenness of motion", "change of flow along each path, 0 to 1"),
    "flicker": ("flicker", "brightness and colour that come and go"),
    "motion_amount": ("amount of motion", "mean length of the flow, picture heights a second"),
    "freeze": ("frozen frames", "share of frames that repeat the one before"),
    "disorder": ("frames out of order", "share of neighbours that would move better swapped"),
    "drift": ("drift", "how the look changes from the first to the last second"),
    "jump_cuts": ("jump cuts", "cuts in a clip"),
    "successive": ("SSIM of successive frames", "Wang's"),
    "sharpness": ("sharpness", "slope of luma from pixel to pixel, over its deviation"),
    "grid": ("grid", "how much steeper pictures are at the borders of blocks; 0 where none shows"),
}  # fmt: skip


@dataclass(frozen=True)
class Tools:
    """What the measures asked for need.

    Attributes:
        metrics: their names.
        distances: title, extractor and note of each Frechet distance.
        kernels: the same of each kernel distance.
        manifolds: extractors whose features make the space of precision and recall, and its facts.
        gauges: what gives figures of a set's clips, or None where a set has none.
        meanings: what each figure says.
        curves: figures (n, time) to be drawn: name to title and unit.
        scores: the Inception Scores: title, extractor.
        missing: what cannot be had.
        hashes: of the weights of each network that judges.
        drawn: curves of how these networks learnt.
    """

    metrics: frozenset[str]
    distances: list[tuple[str, Extractor, str]] = field(default_factory=list)
    kernels: list[tuple[str, Extractor, str]] = field(default_factory=list)
    manifolds: list[tuple[tuple[Extractor, ...], dict[str, Any]]] = field(default_factory=list)
    gauges: list[Callable[[ClipSet], Gauge | None]] = field(default_factory=list)
    meanings: dict[str, Meaning] = field(default_factory=dict)
    curves: dict[str, tuple[str, str]] = field(default_factory=dict)
    inception: list[tuple[str, Extractor]] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    drawn: list[dict[str, Any]] = field(default_factory=list)

    @property
    def extractors(self) -> list[Extractor]:
        """Each once."""
        every = [e for _, e, _ in self.distances + self.kernels] + [e for _, e in self.inception]
        every += [e for space, _ in self.manifolds for e in space]
        return list({extractor.name: extractor for extractor in every}.values())

    def gauges_of(self, clips: ClipSet) -> list[Gauge]:
        """What gives figures of the clips of this set."""
        found = [gauge(clips) for gauge in self.gauges]
        return [gauge for gauge in found if gauge is not None]

    def others(
        self, made: Measured, real: Measured, other: Measured | None, manifest: dict[str, Any]
    ) -> list[Score]:
        """Scores of sets as wholes that are no distances: Inception Scores."""
        scores = []
        for title, extractor in self.inception:
            try:
                value, deviation = inception_score(rows(made, extractor.name)[0])
                floor, _ = inception_score(rows(real, extractor.name)[0])
            except ValueError as error:
                raise MuybridgeError(
                    f"{title} cannot be had: {error}", "generate more, or add footage"
                ) from error
            scores.append(
                Score(
                    title, value, "higher", manifest | extractor.facts | {"splits": 10},
                    interval=(value - deviation, value + deviation), floor=floor,
                    interval_of="one standard deviation over ten parts of the clips, as is usual",
                    note="looks at no real clip; no model should be chosen by it",
                )
            )  # fmt: skip
        return scores


def choose(
    config: Config,
    ground: Ground,
    train: Loader | None = None,
    validation: Loader | None = None,
    names: Sequence[str] | None = None,
) -> Tools:
    """Gets ready what the measures need: trains or reads networks, where that is asked for.

    Args:
        config: its `metrics` are the measures, unless `names` are given.
        ground: the real clips.
        train, validation: splits of the dataset, for networks that are trained on it.
        names: the measures.

    Raises:
        MuybridgeError: a measure that there is not, or that was asked for and cannot be had.
    """
    asked = tuple(config.metrics if names is None else names)
    check_names(asked, "--metrics")
    kit = Tools(frozenset(asked))
    _offline(kit, config, train, validation)
    if kit.metrics & {"fid", "fvd", "is"}:
        _published(kit, config)
    if "time" in kit.metrics:
        _time(kit, ground)
    if "stage" in kit.metrics:
        _stage(kit, ground)
    if "labels" in kit.metrics:
        _recognised(kit, ground, config, train, validation)
    if "truth" in kit.metrics:
        _truth(kit, ground, config)
    return kit


def _offline(kit: Tools, config: Config, train: Loader | None, validation: Loader | None) -> None:
    appearance = Extractor(
        "appearance", distances.appearance, {"extractor_sha256": distances.extractor_digest()}
    )
    motion = Extractor(
        "motion", distances.motion, {"extractor": "log temporal differences, 4 x 4 cells"}
    )
    offered = {"appearance": appearance, "motion": motion}
    if "learned" in kit.metrics:
        if train is None:
            why = "there is no training split to learn it from"
            kit.missing.append(Missing("learned distance", why, "give --real DATASET"))
        else:
            try:
                found = learned.cached(_beside(train), train, config.learned, validation)
            except DataError as error:
                kit.missing.append(Missing("learned distance", error.message, error.hint))
            else:
                kit.hashes["the learned extractor"] = found.digest
                facts = _plain(found.facts) | {"extractor_sha256": found.digest}
                # Its features already have deviation 1 over the whole training split.
                offered["learned"] = Extractor("learned", found.features, facts, False)
    for name, extractor in offered.items():
        if name in kit.metrics:
            kit.distances.append((f"{name} distance", extractor, OWN))
            if "kernel" in kit.metrics:
                kit.kernels.append((f"{name} kernel distance", extractor, OWN))
    if "manifold" in kit.metrics:
        space = ("learned",) if "learned" in offered else ("appearance", "motion")
        facts = {"space": " + ".join(space)}
        kit.manifolds.append((tuple(offered[name] for name in space), facts))


def _beside(train: Loader) -> Path:
    """Where networks that were trained on a dataset are kept."""
    return train.dataset.folder / "judges"


def _published(kit: Tools, config: Config) -> None:
    """FID and KID, FVD and KVD, Inception Scores: with the published weights, or not at all."""
    where = config.weights or None
    wanted: list[tuple[str, Callable[[], Any], tuple[str, ...]]] = [
        ("fid", lambda: published.for_fid(where), ("FID", "KID")),
        ("fvd", lambda: published.for_fvd(where), ("FVD", "KVD")),
        ("is", lambda: published.for_inception_score(where), ("IS",)),
        ("is", lambda: published.for_video_inception_score(where), ("video IS",)),
    ]
    for metric, get, titles in wanted:
        if metric not in kit.metrics:
            continue
        found = _had(get, titles[0])
        if isinstance(found, Missing):
            kit.missing.append(Missing(" and ".join(titles), found.why, found.hint))
            continue
        extractor = Extractor(found.score, found, found.manifest, standardised=False)
        kit.hashes[titles[0]] = str(found.manifest["weights_sha256"])
        if metric == "is":
            kit.inception.append((found.named(titles[0]), extractor))
        else:
            kit.distances.append((found.named(titles[0]), extractor, ""))
            kit.kernels.append((found.named(titles[1]), extractor, ""))


def _had(get: Callable[[], Any], title: str) -> Any:
    """A published network, or `Missing` where its weights are absent or not the published ones."""
    try:
        return get()
    except MuybridgeError as error:
        return Missing(title, error.message, error.hint)


def _time(kit: Tools, ground: Ground) -> None:
    fps, (height, width) = ground.real.form.fps, ground.real.form.size
    facts = flow_settings(height, width) | {"ssim": "wang"}
    for title, note in _TIME.values():
        kit.meanings[title] = Meaning("near", "", note, facts)
    kit.curves["SSIM of successive frames"] = ("Likeness of each frame to the one before", "SSIM")
    kit.curves["change over time"] = ("Change from frame to frame", "mean change of brightness")

    def gauge(clips: Tensor, begin: int, end: int) -> dict[str, Array]:
        found = over_time(clips, fps)
        figures = {_TIME[name][0]: rows for name, rows in found.items() if name in _TIME}
        figures["sharpness"], figures["grid"] = pictures.sharpness(clips), pictures.grid(clips)
        likeness = similarity.successive_ssim(clips)
        first = np.full((len(clips), 1), np.nan)  # has none before it
        figures["SSIM of successive frames"] = np.concatenate([first, likeness], 1)
        change = (clips[:, 1:] - clips[:, :-1]).abs().mean((2, 3, 4)).double().numpy() / 2
        figures["change over time"] = np.concatenate([first, change], 1)
        return figures

    kit.gauges.append(lambda _: gauge)


def _stage(kit: Tools, ground: Ground) -> None:
    if not all(following.wanted(caption) for caption in ground.real.captions):
        return
    fps = ground.real.form.fps
    facts = {"tracker": TRACKER}
    for key in (*KEYS, "all"):
        kit.meanings[f"{key} as asked"] = Meaning(
            "higher", "%", "what a tracker finds in the clip; for real clips its own hit rate",
            facts, share=True,
        )  # fmt: skip
    for name, law in physics.MEASURES.items():
        note = f"{law.catches}; for real clips the tracker's own error"
        kit.meanings[name] = Meaning(law.better, law.unit, note, facts, share=law.unit == "%")

    def of(clips: ClipSet) -> Gauge | None:
        if not all(following.wanted(caption) for caption in clips.captions):
            return None

        def gauge(frames: Tensor, begin: int, end: int) -> dict[str, Array]:
            asked = clips.captions[begin:end]
            seen = observe(frames, fps)
            hits = following.hits(frames, asked, fps, seen)
            words = {f"{key} as asked": rows for key, rows in hits.items()}
            return words | physics.measures(frames, asked, fps, seen)

        return gauge

    kit.gauges.append(of)


def _recognised(
    kit: Tools,
    ground: Ground,
    config: Config,
    train: Loader | None,
    validation: Loader | None,
) -> None:
    """Labels and objects as asked, by classifiers trained on real clips."""
    real = ground.real
    if train is None or validation is None:
        return
    for kind, told in (("label", any(real.labels)), ("objects", any(real.objects))):
        if not told:
            continue
        title = f"{kind} as asked"
        settings = config.classifier.with_values(of=kind)
        try:
            judge = classifier.cached(_beside(train), train, validation, settings)
        except DataError as error:
            kit.missing.append(Missing(title, error.message, error.hint))
            continue
        kit.hashes[f"the classifier of {kind}"] = judge.digest
        kit.drawn.append(learning(f"The classifier of {kind} while it learnt", judge.curves))
        kit.meanings[title] = Meaning(
            "higher", "%", "what a classifier trained on real clips recognises; for real held-out "
            "clips its own hit rate", _plain(judge.facts) | {"classifier_sha256": judge.digest},
            share=kind == "label",
        )  # fmt: skip
        kit.gauges.append(partial(_recognition, title, kind, judge))


def _recognition(
    title: str, kind: str, judge: classifier.Classifier, clips: ClipSet
) -> Gauge | None:
    """How far clips show the label, or the objects, that their conditions name."""
    if not any(clips.labels if kind == "label" else clips.objects):
        return None

    def gauge(frames: Tensor, begin: int, end: int) -> dict[str, Array]:
        found = judge.predict(frames)
        if kind == "label":
            asked = clips.labels[begin:end]
            best = [judge.labels[place] for place in found.argmax(1)]
            hits = [
                float(b == a) if a in judge.labels else np.nan
                for b, a in zip(best, asked, strict=True)
            ]
            return {title: np.array(hits)}
        named = [[name in own for name in judge.labels] for own in clips.objects[begin:end]]
        return {title: ((found > 0.5) == np.array(named)).mean(1)}

    return gauge


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What of a network's facts a manifest can show: no curves."""
    return {name: fact for name, fact in facts.items() if not isinstance(fact, list | dict)}


def _truth(kit: Tools, ground: Ground, config: Config) -> None:
    """Likeness to the real clip of the same name."""
    places = {name: place for place, name in enumerate(ground.real.names)}
    lpips = _had(lambda: published.for_lpips("alex", config.weights or None), "LPIPS")
    scales = ms_ssim_scales(*ground.real.form.size) if min(ground.real.form.size) > 10 else 0
    titles = {"PSNR": "higher", "SSIM": "higher", "MS-SSIM": "higher", "LPIPS": "lower"}
    for title, better in titles.items():
        kit.meanings[title] = Meaning(
            "higher" if better == "higher" else "lower", "dB" if title == "PSNR" else "",
            "against the real clip of the same name, frame by frame",
            {"ssim": "wang", "ms_ssim_scales": scales, "psnr_cap_db": similarity.PSNR_CAP}
            | (lpips.manifest if title == "LPIPS" and not isinstance(lpips, Missing) else {}),
        )  # fmt: skip
        kit.curves[title] = (f"{title} over time", title)

    def of(clips: ClipSet) -> Gauge | None:
        if clips is ground.real or not all(name in places for name in clips.names):
            return None
        if isinstance(lpips, Missing) and lpips not in kit.missing:
            kit.missing.append(lpips)

        def gauge(frames: Tensor, begin: int, end: int) -> dict[str, Array]:
            same = [places[name] for name in clips.names[begin:end]]
            truth = ground.real.some(same)[:, ground.given :]
            figures = {
                "PSNR": similarity.psnr(frames, truth),
                "SSIM": similarity.ssim(frames, truth),
                "MS-SSIM": similarity.ms_ssim(frames, truth),
            }
            if not isinstance(lpips, Missing):
                figures["LPIPS"] = lpips(frames, truth)
            return figures

        return gauge

    kit.gauges.append(of)
