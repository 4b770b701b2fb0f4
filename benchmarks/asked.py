"""Whether one model follows what it is asked for: words, drawings, edits, and for how long.

    python benchmarks/asked.py RUN [--clips 100] [--only words,drawing,edit,long]

RUN is one of `flow-any` on the stage; the stage's tracker says what is seen.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from common import report
from given import Bench
from stage import asked as wanted_words

import muybridge as mb
from muybridge.core import video
from muybridge.core.video import Frames
from muybridge.data import stage
from muybridge.evaluation import distances, temporal
from muybridge.evaluation.following import hits
from muybridge.evaluation.permanence import passage
from muybridge.evaluation.tracker import KEYS, following, observe
from muybridge.generation.asked import Asked
from muybridge.generation.making import groups, plan

Row = dict[str, Any]


def words(bench: Bench) -> Iterator[Row]:
    """Text alone: combinations seen in training and kept out of it; the strength of guidance."""
    count = len(bench.clips)
    for name, held_out, scales in (
        ("seen", False, (1.0, 2.0, 3.0, 5.0)),
        ("kept out", True, (3.0,)),
    ):
        asked = wanted_words(held_out, count)
        for scale in scales:
            made = bench.run.generate(
                text=[caption for _, caption in asked], count=count, seed=3, guidance=scale
            )
            found = following([video.to_uint8(clip) for clip in made], [w for w, _ in asked])
            row: Row = {"task": f"words, {name}", "guidance": scale}
            row |= {key: 100 * float(str(found[key])) for key in (*KEYS, "all")}
            for kind, features in (
                ("appearance", distances.appearance), ("motion", distances.motion)
            ):  # fmt: skip
                far = distances.distance(features(made), features(bench.clips))
                row[f"{kind} distance"] = float(far)
            yield row


def drawing(bench: Bench) -> Iterator[Row]:
    """Edges of the first frame against the drawing, and against another clip's."""
    count = len(bench.clips)
    firsts = [clip[0] for clip in bench.pixels]
    drawn = np.stack([outline(first) for first in firsts])
    beside = torch.zeros(count, bench.frames, 2, *bench.clips.shape[-2:])
    beside[:, 0, 0] = torch.from_numpy(drawn) * 2.0 - 1
    beside[:, 0, 1] = 1
    # Another clip's colour is asked for, so that words and drawing can be told apart.
    swapped = [recoloured(caption) for caption in bench.batch.text or ()]
    text, keep = tuple(swapped), bench.batch
    bench.batch = replace(keep, text=text)
    for scale in (1.0, 2.0):
        made = bench.make(guides={"sketch": beside}, picture_guidance=scale)
        edges = np.stack([outline(video.to_uint8(clip)[0]) for clip in made])
        own = np.mean([f1(a, b) for a, b in zip(edges, drawn, strict=True)])
        other = np.mean([f1(a, b) for a, b in zip(edges, np.roll(drawn, 1, 0), strict=True)])
        right = hits(made, text, bench.run.recipe.data.fps)
        yield {
            "task": "drawing", "picture guidance": scale, "F1": float(own),
            "F1 shuffled": float(other), "colour": 100 * float(np.nanmean(right["colour"])),
        }  # fmt: skip
    bench.batch = keep


def outline(frame: Frames) -> Frames:
    """Edges by Canny, 0 and 1."""
    return np.asarray(cv2.Canny(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 60, 150) > 0, np.uint8)


def f1(found: Frames, real: Frames, within: int = 2) -> float:
    """Of edges, each counted where one of the other lies within some pixels."""
    square = np.ones((2 * within + 1,) * 2, np.uint8)
    precision = (found * cv2.dilate(real, square)).sum() / max(1, found.sum())
    recall = (real * cv2.dilate(found, square)).sum() / max(1, real.sum())
    return float(2 * precision * recall / max(1e-9, precision + recall))


def recoloured(caption: str) -> str:
    """A caption of the stage with the next of its colours."""
    names = list(stage.COLOURS)
    for place, name in enumerate(names):
        if f" {name} " in f" {caption} ":
            return caption.replace(name, names[(place + 1) % len(names)])
    return caption


def edit(bench: Bench) -> Iterator[Row]:
    """Another colour in the text: does the colour change, and do shape and motion stay?"""
    keep, fps = bench.batch, bench.run.recipe.data.fps
    before = hits(bench.clips, keep.text or (), fps)
    text = tuple(recoloured(caption) for caption in keep.text or ())
    bench.batch = replace(keep, text=text)
    for strength in (0.5, 0.7, 0.9):
        for scale in (2.0, 3.0):
            made = bench.make(source=bench.clips, strength=strength, guidance=scale)
            after = hits(made, text, fps)
            row: Row = {"task": "edit of colour", "strength": strength, "guidance": scale}
            for key in ("colour", "shape", "motion"):
                there = before[key] == 1
                row[key] = 100 * float(np.nanmean(after[key][there]))
            there = (before["shape"] == 1) & (before["motion"] == 1)
            both = (after["colour"] == 1) & (after["shape"] == 1) & (after["motion"] == 1)
            row["all"] = 100 * float(both[there].mean())
            yield row
    bench.batch = keep


def lasting(bench: Bench) -> Iterator[Row]:
    """Sixteen seconds: the last as good as the first, things as they were behind a pillar."""
    run, fps, second = bench.run, bench.run.recipe.data.fps, round(bench.run.recipe.data.fps)
    count = min(32, len(bench.clips))
    captions = (bench.batch.text or ())[:count]
    asked = Asked(text=tuple(captions), count=count, seconds=16)
    begun, memory = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    it = plan(run, asked)
    made = torch.cat([torch.cat(list(f), 1) for _, f in groups(it, bench.objective)])
    spent = time.perf_counter() - begun
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    window = run.recipe.data.frames
    real = {k: f(bench.clips) for k, f in FEATURES.items()}
    amount = float(np.nanmean(temporal.motion_amount(bench.clips, fps)))
    for begin in range(0, made.shape[1] - window + 1, 2 * window):
        part = made[:, begin : begin + window]
        row: Row = {"task": "16 s", "from s": begin / second}
        row |= {
            f"{k} distance": float(distances.distance(f(part), real[k]))
            for k, f in FEATURES.items()
        }
        moved = float(np.nanmean(temporal.motion_amount(part, fps)))
        yield row | {
            "motion over real": moved / amount,
            "seconds a clip": spent / count,
            "more MiB": more / 1024,
        }
    sheet = video.contact_sheet([video.to_uint8(clip) for clip in made[:8]], captions, 16)
    (bench.run.folder / "long.png").write_bytes(video.png(sheet))


def hidden(bench: Bench) -> Iterator[Row]:
    """What goes behind a pillar and is gone on with: does it come out, and as it was?"""
    fps = bench.run.recipe.data.fps
    real = [passage(one) for one in observe(bench.clips, fps)]
    which = [n for n, one in enumerate(real) if one.emerged == 1]
    if not which:
        return
    mask = (torch.arange(bench.frames) < 8).float().view(1, -1, 1, 1, 1)
    made = [passage(one) for one in observe(bench.make(mask)[which], fps)]
    row: Row = {"task": "behind a pillar", "clips": len(which)}
    for name in ("emerged", "colour", "shape"):
        row[name] = 100 * float(np.nanmean([getattr(one, name) for one in made]))
    yield row


FEATURES = {"appearance": distances.appearance, "motion": distances.motion}
PARTS = {"words": words, "drawing": drawing, "edit": edit, "long": lasting, "hidden": hidden}


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--only", default=",".join(PARTS))
    args = parser.parse_args()
    bench = Bench(mb.Run.open(args.run), args.clips)
    rows = [row for name in args.only.split(",") for row in PARTS[name](bench)]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    step = bench.run.trained()[1].step
    report("asked", [{c: row.get(c, "") for c in columns} for row in rows], steps=step)


if __name__ == "__main__":
    main()
