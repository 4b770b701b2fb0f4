"""Five minutes of training on the stage: how often are the colour and shape asked for seen?

    python benchmarks/stage.py --out FOLDER [--minutes 5] [--samples 500]

The tracker's own hit rate on real clips of the stage stands beside the samples'.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

from common import report
from torch import Tensor

import muybridge as mb
from muybridge.assembly import assemble
from muybridge.core import video
from muybridge.data import stage
from muybridge.evaluation.intervals import wilson
from muybridge.evaluation.tracker import KEYS, following


def asked(held_out: bool, count: int) -> list[tuple[dict[str, str], str]]:
    """What each sample should show, and the words for it: combinations in turn, any phrasing."""
    chance, every = random.Random(0), stage.combinations(held_out)
    made = []
    for index in range(count):
        words = every[index % len(every)]
        caption = stage.caption_of(*words, chance.randrange(len(stage.phrasings(words[2]))))
        made.append((dict(zip(KEYS, words, strict=True)), caption))
    return made


def judged(clips: Tensor, wanted: list[dict[str, str]], name: str) -> dict[str, object]:
    """Shares right, in percent, with an interval for colour and shape at once."""
    frames = [video.to_uint8(clip) for clip in clips]
    share = following(frames, wanted)
    both = [{k: w[k] for k in ("colour", "shape")} for w in wanted]
    together = float(str(following(frames, both)["all"]))
    low, high = wilson(together, len(frames))
    row: dict[str, object] = {"clips": name, "count": len(frames)}
    row |= {key: round(100 * float(str(share[key])), 1) for key in (*KEYS, "all")}
    return row | {"colour and shape": round(100 * together, 1), "from": low, "to": high}


def main() -> None:
    """Makes footage, trains, samples, judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    begun = time.perf_counter()
    mb.make_stage(args.out / "footage", 400)
    drawing = time.perf_counter() - begun
    if not (args.out / "dataset" / "dataset.json").exists():
        mb.prepare(args.out / "footage", args.out / "dataset")
    recipe = mb.Recipe.load("flow-small", tuple(args.set))
    recipe = recipe.with_(data=args.out / "dataset", minutes=args.minutes)
    run = assemble(recipe, args.out / "run")
    position = run.train()
    rows = []
    for name, held_out, count in (("seen", False, args.samples), ("kept out", True, 90)):
        wanted = asked(held_out, count)
        begun = time.perf_counter()
        clips = run.generate(text=[caption for _, caption in wanted], count=count, seed=3)
        seconds = (time.perf_counter() - begun) / count
        row = judged(clips, [words for words, _ in wanted], f"generated, {name}")
        rows.append(row | {"seconds a clip": seconds})
        sheet = video.contact_sheet(
            [video.to_uint8(c) for c in clips[:12]], [c for _, c in wanted[:12]], scale=2
        )
        (args.out / f"{name.replace(' ', '-')}.png").write_bytes(video.png(sheet))
    real = run.loader(mb.Dataset.open(args.out / "dataset"), "test")
    batch = real.fixed(len(real.clips))
    words = {stage.caption_of(*c, p): c for held in (False, True) for c in stage.combinations(held)
             for p in range(len(stage.phrasings(c[2])))}  # fmt: skip
    true = [dict(zip(KEYS, words[caption], strict=True)) for caption in batch.text or ()]
    rows.append(judged(batch.clips, true, "real, held out") | {"seconds a clip": 0.0})
    report("stage", rows, steps=position.step, minutes=args.minutes, seconds_for_400_clips=drawing)


if __name__ == "__main__":
    main()
