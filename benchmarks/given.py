"""What one model makes of what it is given, beside the obvious simple method, on held-out clips.

    python benchmarks/given.py RUN [--clips 100] [--only seam,predict,...] [--rival SIMVP]

RUN is one of `flow-any` on the stage, SIMVP one of `simvp`, which goes on from 4 frames. PSNR (dB)
counts what was made, not what was given. Distances are the offline ones to the same held-out clips,
of the whole clip as it comes out; both columns have the same given parts. `beside` names the simple
method. Sharpness is that of frames in the middle over that of real ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from common import report
from torch import Tensor

import muybridge as mb
from muybridge.core import chance, video
from muybridge.core.clips import Batch, to_float
from muybridge.core.video import Frames
from muybridge.data import guides, tasks
from muybridge.evaluation import distances, pictures, temporal
from muybridge.generation.dissolve import dissolved
from muybridge.generation.faithful import faithful
from muybridge.objectives.base import SampleRequest

SEED = 7
Row = dict[str, Any]


class Bench:
    """A run with its weights, and held-out clips."""

    def __init__(self, run: mb.Run, count: int, rival: mb.Run | None = None) -> None:
        self.rival = rival
        self.run, self.objective = run, run.trained()[0]
        self.through: Callable[[Any, SampleRequest], Tensor] | None = None
        loader = run.loader(mb.Dataset.open(run.recipe.data.folder), "test")
        self.batch: Batch = loader.fixed(min(count, len(loader.clips)))
        self.clips = self.batch.clips
        self.frames = self.clips.shape[1]
        # To 8 bits and back: what is given would come from a file.
        self.pixels = np.stack([video.to_uint8(clip) for clip in self.clips])
        self.clips = torch.from_numpy(to_float(self.pixels))

    def make(self, mask: Tensor | None = None, said: bool = True, **more: Any) -> Tensor:
        """Clips of which the pixels of `mask` are given; words are said and not strengthened, since
        guidance by them takes colours away from what is given."""
        more = {"guidance": 1.0} | more
        count, size = len(self.clips), (self.clips.shape[-2], self.clips.shape[-1])
        whole = None if mask is None else mask.expand(count, self.frames, 1, *size)
        text = self.batch.text if said else tuple("" for _ in range(count))
        seeds = torch.tensor([chance.mix(SEED, "given", n) for n in range(count)])
        request = SampleRequest(
            self.batch.times, size, seeds, text if self.batch.text else None, self.batch.label,
            known=None if whole is None else self.clips * whole, known_mask=whole, **more,
        )  # fmt: skip
        sample = partial(self.run.sample, self.objective)
        return sample(request) if self.through is None else self.through(sample, request)

    def of(self, name: str, made: Tensor, other: Tensor, beside: str, mask: Tensor) -> Row:
        """How near both come to what was really there, and how far sets of them are from real."""
        hidden = (1 - mask).expand(len(self.clips), self.frames, 1, *self.clips.shape[-2:])
        row: Row = {"task": name, "beside": beside}
        # Of the frames in the middle, which are made in all tasks.
        real = pictures.sharpness(self.clips[:, 8:12]).mean()
        for who, clips in (("ours", made), ("simple", other)):
            row[f"sharpness {who}"] = float(pictures.sharpness(clips[:, 8:12]).mean() / real)
            wrong = ((clips - self.clips) / 2).square() * hidden
            each = wrong.sum((1, 2, 3, 4)) / (3 * hidden.sum((1, 2, 3, 4)))
            row[f"PSNR {who}"] = float((-10 * torch.log10(each.clamp(min=1e-8))).mean())
        for kind, features in (("appearance", distances.appearance), ("motion", distances.motion)):
            real = features(self.clips)
            for who, clips in (("ours", made), ("simple", other)):
                row[f"{kind} {who}"] = float(distances.distance(features(clips), real))
        return row

    def each(self, one: Callable[[Frames], Frames]) -> Tensor:
        """All clips (time, height, width, 3) through a function."""
        return torch.from_numpy(to_float(np.stack([one(clip) for clip in self.pixels])))


def beside(pixels: Tensor) -> dict[str, Tensor]:
    """A video as what guides."""
    return {"video": torch.cat([pixels, torch.ones_like(pixels[:, :, :1])], 2)}


def seam(bench: Bench) -> Iterator[Row]:
    """The step from the last given frame to the first that is made, beside real steps there."""
    for given in (1, 4, 8):
        made = bench.make(tasks.first(bench.frames, given))
        assert torch.equal(made[:, :given], bench.clips[:, :given]), "given frames were changed"
        steps = [
            (clips[:, given] - clips[:, given - 1]).abs().mean((1, 2, 3))
            for clips in (made, bench.clips)
        ]
        low, high = np.percentile(steps[1].numpy(), [5, 95])
        inside = float(((steps[0] >= low) & (steps[0] <= high)).float().mean())
        colour = (made[:, given:].mean((1, 3, 4)) - bench.clips[:, :given].mean((1, 3, 4))).abs()
        real = bench.clips[:, given:].mean((1, 3, 4)) - bench.clips[:, :given].mean((1, 3, 4))
        yield {
            "task": f"seam after {given}", "beside": "real steps",
            "inside 5 to 95 %": 100 * inside,
            "median over real": float(steps[0].median() / steps[1].median()),
            "colour shift": float(colour.mean()), "colour shift of real": float(real.abs().mean()),
        }  # fmt: skip


def predict(bench: Bench) -> Iterator[Row]:
    """Going on from given frames, beside the last of them held and, from 4, beside the rival."""
    for given in (4, 8):
        mask = tasks.first(bench.frames, given)
        still = bench.clips.clone()
        still[:, given:] = bench.clips[:, given - 1 : given]
        made = bench.make(mask)
        yield bench.of(f"predict from {given}", made, still, "last frame held", mask)
        if bench.rival is not None and given == 4:
            other = Bench(bench.rival, len(bench.clips))
            assert torch.equal(other.clips, bench.clips), "the rival is judged on other clips"
            yield bench.of("predict from 4", made, other.make(mask), "SimVP", mask)


def between(bench: Bench) -> Iterator[Row]:
    """Frames in between, beside cross-fades and DIS optical flow."""
    for every in (2, 4, 8):
        places = list(range(0, bench.frames, every))
        if places[-1] != bench.frames - 1:
            places.append(bench.frames - 1)
        mask = tasks.at(bench.frames, places)[None]
        made = bench.make(mask)
        for name, how in (("cross-fade", faded), ("DIS flow", flowed)):
            other = bench.each(lambda clip, how=how, places=places: how(clip, places))
            yield bench.of(f"between every {every}", made, other, name, mask)


def faded(clip: Frames, places: list[int]) -> Frames:
    """Each frame as the mixture of the known ones around it."""
    made = clip.copy()
    for a, b in pairwise(places):
        for at in range(a + 1, b):
            share = (at - a) / (b - a)
            made[at] = ((1 - share) * clip[a] + share * clip[b]).round()
    return made


def flowed(clip: Frames, places: list[int]) -> Frames:
    """Each frame as the known ones around it, moved along their optical flow and mixed."""
    made = clip.copy()
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = clip.shape[1:3]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip]
    for a, b in pairwise(places):
        there, back = search.calc(grey[a], grey[b], None), search.calc(grey[b], grey[a], None)
        for at in range(a + 1, b):
            s = (at - a) / (b - a)
            first = moved(clip[a], x - s * there[..., 0], y - s * there[..., 1])
            last = moved(clip[b], x - (1 - s) * back[..., 0], y - (1 - s) * back[..., 1])
            made[at] = ((1 - s) * first + s * last).round()
    return made


def moved(frame: Frames, x: Any, y: Any) -> Frames:
    """A picture whose pixel (x, y) is taken from there."""
    return cv2.remap(frame, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def sharpen(bench: Bench) -> Iterator[Row]:
    """Super-resolution, beside bicubic, as it is and made true to what was given as ours is."""
    nothing = torch.zeros(1, 1, 1, 1, 1)
    for factor in (2, 4):
        wide = bench.each(lambda clip, k=factor: np.stack([guides.smaller(f, k) for f in clip]))
        given = bench.each(lambda clip, k=factor: np.stack([shrunk(f, k) for f in clip]))
        made = faithful(bench.make(guides=beside(wide)), given)
        yield bench.of(f"upscale {factor}", made, wide, "bicubic", nothing)
        true = faithful(wide, given)
        yield bench.of(f"upscale {factor}", made, true, "bicubic made true", nothing)


def shrunk(frame: Frames, factor: int) -> Frames:
    """A picture made smaller by area."""
    size = (frame.shape[1] // factor, frame.shape[0] // factor)
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def mend(bench: Bench) -> Iterator[Row]:
    """Noise, beside bilateral and non-local filters; colour, beside grey; holes, beside Telea."""
    nothing = torch.zeros(1, 1, 1, 1, 1)
    random = np.random.default_rng(SEED)

    def noisy(clip: Frames) -> Frames:
        return (clip + random.normal(0, 25, clip.shape)).clip(0, 255).round().astype(np.uint8)

    spoiled = [noisy(clip) for clip in bench.pixels]
    seen = torch.from_numpy(to_float(np.stack(spoiled)))
    made = bench.make(guides=beside(seen))
    for name, how in (
        ("bilateral", lambda f: cv2.bilateralFilter(f, 5, 60, 2)),
        ("non-local means", lambda f: cv2.fastNlMeansDenoisingColored(f, None, 12, 12, 5, 11)),
    ):
        plain = np.stack([np.stack([how(f) for f in clip]) for clip in spoiled])
        yield bench.of("denoise", made, torch.from_numpy(to_float(plain)), name, nothing)
    grey = bench.each(lambda clip: np.stack([guides.grey(frame) for frame in clip]))
    coloured = faithful(bench.make(guides=beside(grey)), grey, grey=True)
    yield bench.of("colourise", coloured, grey, "grey", nothing)
    hole = torch.ones(1, 1, 1, *bench.clips.shape[-2:])
    hole[..., 20:44, 20:44] = 0
    black = (1 - hole[0, 0, 0].numpy()).astype(np.uint8)
    telea = bench.each(
        lambda clip: np.stack([cv2.inpaint(f, black, 3, cv2.INPAINT_TELEA) for f in clip])
    )
    yield bench.of("inpaint", bench.make(hole), telea, "Telea", hole)


def join(bench: Bench) -> Iterator[Row]:
    """A passage between the beginnings of two different clips, as `--between` makes it."""
    bench.through = dissolved
    yield passage(bench, "join", bench.clips[:, :4], bench.clips.roll(1, 0)[:, :4])
    bench.through = None


def loop(bench: Bench) -> Iterator[Row]:
    """A passage from a clip's end to its beginning, as `--video --loop` makes it."""
    yield passage(bench, "loop", bench.clips[:, -4:], bench.clips[:, :4])


def passage(bench: Bench, name: str, first: Tensor, last: Tensor) -> Row:
    """What is made between frames, beside a cross-fade."""
    keep, whole = bench.clips, bench.clips.clone()
    whole[:, :4], whole[:, -4:] = first, last
    mask = torch.maximum(tasks.first(bench.frames, 4), tasks.first(bench.frames, 4).flip(1))
    bench.clips = whole
    made = bench.make(mask, said=False)
    bench.clips = keep
    places = [3, bench.frames - 4]
    fade = np.stack([faded(video.to_uint8(clip), places) for clip in whole])
    plain = torch.from_numpy(to_float(fade))
    row = bench.of(name, made, plain, "cross-fade", mask)
    for who in ("ours", "simple"):
        row[f"PSNR {who}"] = None  # there is no truth between two clips
    cuts = [float(temporal.jump_cuts(clips).mean()) for clips in (made, plain, bench.clips)]
    return row | dict(zip(("cuts ours", "cuts simple", "cuts real"), cuts, strict=True))


PARTS = {
    "seam": seam, "predict": predict, "between": between, "sharpen": sharpen, "mend": mend,
    "join": join, "loop": loop,
}  # fmt: skip


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--rival", type=Path)
    args = parser.parse_args()
    run = mb.Run.open(args.run)
    bench = Bench(run, args.clips, mb.Run.open(args.rival) if args.rival else None)
    rows = [row for name in args.only.split(",") for row in PARTS[name](bench)]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    filled = [{column: row.get(column, "") for column in columns} for row in rows]
    sampling = run.recipe.sampling.model_dump(mode="json")
    report("given", filled, steps=run.trained()[1].step, clips=args.clips, sampling=sampling)


if __name__ == "__main__":
    main()
