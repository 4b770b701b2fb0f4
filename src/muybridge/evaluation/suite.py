"""All measures of sets of clips against real ones, which are measured once for all sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ..core.config import Count, Section
from ..core.errors import MuybridgeError
from ..core.files import digest_of
from . import baselines, copying, plots, scoring
from .classifier import Config as Classifier
from .clip_sets import ClipSet
from .learned import Config as Learned
from .manifest import Score
from .measured import Measured, measure
from .metrics import DEFAULT
from .references import Missing
from .tools import Tools

Array = npt.NDArray[np.float64]

TRAINING = "closeness to training clips"
VARIETY = "variety within labels"


class Config(Section):
    """How a run is judged."""

    samples: Annotated[int, Field(ge=2)] = 128
    """Clips generated, with the conditions of the test split in turn."""
    held_out: Count = 32
    """Clips judged for the held-out loss during training, from each of two splits."""
    shown: Count = 12
    """Samples shown beside real clips in the report."""
    seed: int = 0
    """Of the samples."""
    metrics: tuple[str, ...] = DEFAULT
    """What is measured; `muybridge evaluate --help` lists the names."""
    neighbours: Count = 5
    """Nearest clips that make a neighbourhood, for precision, recall, density and coverage."""
    timed: Annotated[int, Field(ge=2)] = 10
    """Clips made one by one to time them."""
    during: tuple[str, ...] = ()
    """What is measured while training, `training.measures` times, against the validation split."""
    during_samples: Annotated[int, Field(ge=2)] = 32
    """Clips generated each time for that."""
    weights: str = ""
    """Folder, file or hub name of the reference networks' weights; "" looks in the usual caches."""
    learned: Learned = Learned()
    """The extractor that is trained on the training split."""
    classifier: Classifier = Classifier()
    """The classifier of the dataset's labels."""


@dataclass(frozen=True)
class Ground:
    """What clips are judged against.

    Attributes:
        real: real clips that no model was trained on.
        other: further real clips, which give the floor; without them the floor is one half of
            `real` against the other.
        training: many moments of the clips that a model was trained on, to find copies.
        unseen: further real clips that no model was trained on: the ceiling among the baselines.
        given: frames at the beginning that the model was given: they are not compared with the
            truth. All other measures are of whole clips.
    """

    real: ClipSet
    other: ClipSet | None = None
    training: ClipSet | None = None
    unseen: ClipSet | None = None
    given: int = 0


@dataclass(frozen=True)
class Result:
    """What is found of one set of clips; `nearest` holds, for each, the places among the training
    clips of the nearest one and of the nearest of other footage: (n, 2), or None."""

    measured: Measured
    scores: tuple[Score, ...]
    warnings: tuple[str, ...] = ()
    nearest: npt.NDArray[np.int64] | None = None
    plots: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class Bench:
    """Real clips, measured once, and the measures with which sets of clips are judged.

    Raises:
        MuybridgeError: real clips that are not all of one form.
    """

    def __init__(self, ground: Ground, tools: Tools, config: Config) -> None:
        self.ground, self.tools, self.config = ground, tools, config
        for other in (ground.other, ground.training, ground.unseen):
            if other is not None:
                same_form(other, ground.real)
        self.real = self._measured(ground.real)
        self.other = self.training = None
        if ground.other is not None:
            self.other = measure(self._judged(ground.other), tools.extractors)
        if ground.training is not None and "copying" in tools.metrics:
            self.training = measure(self._judged(ground.training), ())
        self._usual = self._nearest(self.real)

    @property
    def missing(self) -> list[Missing]:
        """The measures asked for that cannot be had, and what they want for."""
        return self.tools.missing

    def judge(
        self, made: ClipSet, manifest: dict[str, Any], measured: Measured | None = None
    ) -> Result:
        """Judges a set of clips.

        Args:
            made: the set.
            manifest: facts of how its clips were made; of these, names that begin with "run" or
                "checkpoint" do not keep scores from being compared.
            measured: what was measured of it, where that has been done.

        Raises:
            MuybridgeError: its clips are not of the real ones' form, or so few that nothing can be
                said of them. What alone cannot be said is left out, with a warning.
        """
        same_form(made, self.ground.real)
        measured = measured or self._measured(made)
        common = self._manifest(made) | manifest
        scores, left_out = self._distributions(measured, common)
        scores += scoring.of_figures(measured, self.real, self.tools.meanings, common)
        found = self._nearest(measured)
        scores += self._copying(measured, found, common)
        if left_out and not scores:
            raise left_out[0]
        places = None if found is None else np.stack([found.nearest, found.second], 1)
        return Result(
            measured,
            tuple(scores),
            self._warnings(made, scores, left_out),
            places,
            self._plots(measured, found),
        )

    def baselines(self, manifest: dict[str, Any]) -> list[tuple[str, tuple[Score, ...]]]:
        """What clips that cost nothing score, by name."""
        real, training = self.ground.real, self.ground.training
        sets = [baselines.still(real, max(1, self.ground.given))]
        if training is not None and self._usual is not None:
            sets.append(baselines.mean_clip(training, real))
            sets.append(baselines.replay(training, self._usual.nearest.tolist(), real))
        if self.ground.unseen is not None:
            sets.append(self.ground.unseen)
        # A baseline's clips go with the real ones, and are not those of any footage of their own;
        # nothing is done to them, as to clips that a model makes.
        own = [
            dataclasses.replace(
                s,
                owners=tuple(f"{s.name} {i}" for i in range(len(s))),
                facts={"resize": "none"},
                warnings=(),
            )
            for s in sets
        ]
        return [(one.name, self.judge(one, manifest).scores) for one in own]

    def _measured(self, clips: ClipSet) -> Measured:
        return measure(self._judged(clips), self.tools.extractors, self.tools.gauges_of(clips))

    def _judged(self, clips: ClipSet) -> ClipSet:
        """The clips without the frames that the model was given."""
        given = self.ground.given
        if not given:
            return clips
        form = dataclasses.replace(clips.form, frames=clips.form.frames - given)
        read = clips.read
        return dataclasses.replace(
            clips, form=form, read=lambda begin, end: read(begin, end)[:, given:]
        )

    def _manifest(self, made: ClipSet) -> dict[str, Any]:
        real, other = self.ground.real, self.ground.other
        chosen = {f"run_{name}": fact for name, fact in made.facts.items() if name in _OWN_FACTS}
        judged = {name: fact for name, fact in made.facts.items() if name not in _OWN_FACTS}
        return {
            **{f"real_{name}": fact for name, fact in real.facts.items()},
            **{f"generated_{name}": fact for name, fact in judged.items()},
            **chosen,
            "generated": len(made),
            "frames": made.form.frames,
            "fps": made.form.fps,
            "size": list(made.form.size),
            "range": "8 bit",
            "conditioning_frames": self.ground.given,
            "floor": "half of the real clips against the other half" if other is None
            else f"{len(other)} clips of {other.name}",
            "run_conditions": digest_of(*made.captions, *made.labels)[:16],
        }  # fmt: skip

    def _distributions(
        self, made: Measured, common: dict[str, Any]
    ) -> tuple[list[Score], list[MuybridgeError]]:
        """Scores of the set as a whole, and what stood against others."""
        sides, k = (made, self.real, self.other), self.config.neighbours
        ways: list[Callable[[], list[Score]]] = [
            *(partial(scoring.of_features, extractor, title, *sides, common, note)
              for title, extractor, note in self.tools.distances),
            *(partial(scoring.of_kernel, extractor, title, *sides, common, note)
              for title, extractor, note in self.tools.kernels),
            *(partial(scoring.of_manifold, [e.name for e in space], facts, *sides, k, common)
              for space, facts in self.tools.manifolds),
            partial(self.tools.others, *sides, common),
        ]  # fmt: skip
        scores: list[Score] = []
        left_out = []
        for way in ways:
            try:
                scores += way()
            except MuybridgeError as error:
                left_out.append(error)
        return scores, left_out

    def _nearest(self, clips: Measured) -> copying.Copying | None:
        """The training clips nearest to these, where copies are looked for."""
        if self.training is None:
            return None
        groups = copying.group_numbers(self.training.clips.owners)
        return copying.nearest(clips.thumbnails, self.training.thumbnails, groups)

    def _copying(
        self, made: Measured, found: copying.Copying | None, common: dict[str, Any]
    ) -> list[Score]:
        if found is None or self._usual is None or self.training is None:
            return []
        usual = max(float(np.median(self._usual.distance)), 1e-9)
        pair = [
            dataclasses.replace(
                measured,
                figures={
                    "copies": near.copied.astype(float),
                    TRAINING: near.distance / usual,
                    VARIETY: copying.variety(measured.thumbnails, measured.clips.labels),
                },
            )
            for measured, near in ((made, found), (self.real, self._usual))
        ]
        facts = {
            "thumbnail": "every second frame, 16 x 16",
            "training_windows": len(self.training),
            "mirrored": True,
        }
        meanings = {
            "copies": scoring.Meaning(
                "lower", "%", "share of samples that repeat a training clip",
                {"rule": "nearest under a third of the nearest of other footage"}, share=True,
            ),
            TRAINING: scoring.Meaning(
                "near", "", "distance to the nearest training clip, over what is usual for real "
                "held-out clips; far below 1 is memorising",
            ),
            VARIETY: scoring.Meaning(
                "near", "", "how far a clip is from the others of its label, or where there are no "
                "labels from all others; far below that of real clips is collapse",
            ),
        }  # fmt: skip
        return scoring.of_figures(pair[0], pair[1], meanings, common | facts)

    def _warnings(
        self, made: ClipSet, scores: Sequence[Score], left_out: Sequence[MuybridgeError]
    ) -> tuple[str, ...]:
        found = list(made.warnings) + list(self.ground.real.warnings)
        found += [f"left out: {error.message}; {error.hint}" for error in left_out]
        values = {score.name: score.value for score in scores}
        for title, extractor, _ in self.tools.distances:
            if title in values and len(made) < _ENOUGH:
                owed = scoring.owed_to_few(extractor, self.real, len(made))
                if owed is not None:
                    found.append(
                        f"{title} {values[title]:.3g}: only {len(made)} clips; so many of the "
                        f"real ones' source would be expected to score {owed:.3g}, and more less"
                    )
        k = self.config.neighbours
        if self.tools.manifolds and min(len(made), len(self.real)) <= k:
            found.append(
                f"precision, recall, density and coverage want more than {k} clips on each side, "
                f"not {len(made)} and {len(self.real)}"
            )
        return tuple(found)

    def _plots(
        self, made: Measured, found: copying.Copying | None
    ) -> dict[str, list[dict[str, Any]]]:
        curves, histograms = [], []
        sets = [("generated", made), ("real, held out", self.real)]
        for name, (title, unit) in self.tools.curves.items():
            if name in made.figures:
                rows = [(n, m.figures[name]) for n, m in sets if name in m.figures]
                count = rows[0][1].shape[1]
                seconds = (self.ground.given + np.arange(count)) / made.clips.form.fps
                curves.append(plots.curve(title, unit, seconds, rows))
        for name, meaning in self.tools.meanings.items():
            if name in made.figures and name in self.real.figures and not meaning.share:
                both = [(n, scoring.per_clip(m.figures[name])) for n, m in sets]
                histograms.append(plots.histogram(name, meaning.unit, both))
        if found is not None and self._usual is not None:
            both = [("generated", found.distance), ("real, held out", self._usual.distance)]
            histograms.insert(
                0,
                plots.histogram(
                    "Distance to the nearest training clip", "root mean square difference", both
                ),
            )
        clouds = [
            plots.cloud(f"Features of {title}", extractor.name, [made, self.real])
            for title, extractor, _ in self.tools.distances
        ]
        curves += self.tools.drawn
        return {"curves": curves, "histograms": histograms, "scatter": clouds}


# Facts of a set that say whose clips they are, not how they were made alike.
_OWN_FACTS = ("digest", "split", "windows", "sources", "set_aside", "split_clips", "cut")
# From here on a distance owes little to the number of clips (FVD: .04 of the trace at 2,048).
_ENOUGH = 2048


def same_form(first: ClipSet, second: ClipSet) -> None:
    """Raises MuybridgeError where two sets are not of one length, rate and size."""
    if first.form != second.form:
        fields = [f.name for f in dataclasses.fields(first.form)]
        unlike = [n for n in fields if getattr(first.form, n) != getattr(second.form, n)]
        told = "; ".join(
            f"{name} is {getattr(first.form, name)} in {first.name}, "
            f"{getattr(second.form, name)} in {second.name}"
            for name in unlike
        )
        raise MuybridgeError(
            f"clips that are not alike cannot be compared: {told}",
            " and ".join(f"--{name}" for name in unlike) + " brings both to one",
        )
