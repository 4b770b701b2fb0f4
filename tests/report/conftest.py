"""A run and a folder that were judged, as `muybridge evaluate` leaves them, with all parts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muybridge.core import video

RATE, FRAMES = 12.5, 16
COMMON = {
    "run": "first", "checkpoint": "last", "seed": 0, "split": "test", "split_clips": 24,
    "generated": 128, "frames": FRAMES, "fps": RATE, "size": [64, 64], "resize": "none",
    "range": "[-1, 1]", "conditioning_frames": 0, "dataset": "ef0fdc949328230e7e628920d0e2cf",
    "run_sampling": {"sampling_solver": "euler", "sampling_steps": 20},
}  # fmt: skip
MEAN = "the mean over clips, had other clips been made and drawn"
DISTANCE = "the distance, had other clips been drawn from the same two sources; its bias is apart"

# name, value, half of the interval, floor, better, unit, what more its manifest says, note
MEASURES: list[tuple[str, float, float, float | None, str, str, dict[str, Any], str]] = [
    ("appearance distance", 33.21, 4.1, 24.2, "lower", "", {"extractor_sha256": "99644ff9"},
     "an offline distance of this tool's own; not FID, not comparable to papers"),
    ("motion distance", 22.23, 2.8, 6.9, "lower", "", {"measure": "motion", "features": 64}, ""),
    ("precision", 71.4, 4.2, 88.1, "higher", "%", {"k": 5, "extractor": "learned-3f2a"}, ""),
    ("recall", 42.9, 5.1, 86.3, "higher", "%", {"k": 5, "extractor": "learned-3f2a"}, ""),
    ("density", 0.81, 0.07, 1.02, "higher", "", {"k": 5}, ""),
    ("coverage", 58.6, 4.0, 93.0, "higher", "%", {"k": 5}, ""),
    ("PSNR", 21.37, 0.8, None, "higher", "dB", {"peak": 2.0}, "of futures of the same first frame"),
    ("SSIM", 0.712, 0.021, None, "higher", "", {"variant": "Wang 2004, Gaussian window of 11"}, ""),
    ("warping error", 0.0123, 0.0011, 0.0098, "lower", "", {"flow": "Farneback"}, ""),
    ("flicker", 0.0041, 0.0004, 0.0043, "lower", "", {}, ""),
    ("jump cuts", 0.8, 0.8, 0.0, "lower", "%", {"threshold": 0.35}, "share of clips with one"),
    ("gravity error", 0.31, 0.06, 0.04, "lower", "", {"tracker": "colours"}, "relative"),
    ("permanence", 63.0, 9.0, 98.0, "higher", "%", {}, "comes out, in time, of the same colour"),
    ("colour followed", 91.0, 5.0, 99.0, "higher", "%", {}, ""),
    ("copies", 0.0, 1.4, 0.0, "lower", "%", {"thumbnail": "16 x 16"}, ""),
    ("distance to training clips", 0.93, 0.05, None, "near", "", {}, "far below 1 is memorising"),
    ("time to first frame, p50", 0.412, 0.02, None, "lower", "s", {"threads": 2}, ""),
    ("FLOPs per clip", 1.37e11, 0.0, None, "lower", "", {}, ""),
]  # fmt: skip
HELD_STILL = {"appearance distance": 0.9, "flicker": 0.0, "warping error": 0.1, "jump cuts": 0.0,
              "PSNR": 0.97, "SSIM": 1.15, "motion distance": 3.4, "recall": 0.3}  # fmt: skip
NEAREST = {"appearance distance": 0.6, "motion distance": 0.5, "precision": 1.3, "recall": 0.97,
           "copies": 100.0, "distance to training clips": 0.0}  # fmt: skip
CEILING = {"appearance distance": 0.72, "motion distance": 0.31, "precision": 1.23, "recall": 2.0,
           "flicker": 1.05, "warping error": 0.8, "permanence": 1.55}  # fmt: skip

Judged = Callable[..., Path]


def scores(factors: dict[str, float] | None = None, **manifest: Any) -> list[dict[str, Any]]:
    """The measures; `factors` names those that are there, and what multiplies their values."""
    found = []
    for name, value, half, floor, better, unit, more, note in MEASURES:
        if factors is not None and name not in factors:
            continue
        factor = 1.0 if factors is None else factors[name]
        value *= factor
        if name == "copies" and factor > 1:
            value = factor
        kind = DISTANCE if "distance" in name and better == "lower" else MEAN
        found.append(
            {
                "name": name, "value": value, "better": better, "unit": unit, "note": note,
                "interval": [value - half, value + half] if half else None,
                "interval_of": kind if half else "", "floor": floor,
                "target": 1.0 if better == "near" else None, "values": [value] * 128,
                "manifest": COMMON | more | manifest,
            }
        )  # fmt: skip
    return found


def document(name: str, kind: str = "run", shift: float = 1.0) -> dict[str, Any]:
    """All parts of `scores.json`; `shift` multiplies each value."""
    draw = np.random.default_rng(3)
    factors = {measure[0]: shift for measure in MEASURES}
    seconds = (np.arange(FRAMES) / RATE).tolist()
    falling = [0.94 - 0.025 * i + 0.01 * math.sin(i) for i in range(FRAMES)]
    real = [0.95 - 0.006 * i for i in range(FRAMES)]

    def line(title: str, y: list[float], spread: float | None) -> dict[str, Any]:
        low, high = ([v + s for v in y] if s else None for s in (spread and -spread, spread))
        return {"name": title, "x": seconds, "y": y, "low": low, "high": high}

    def cloud(title: str, count: int, x: float, size: float) -> dict[str, Any]:
        points = draw.normal((x, 0), size, (count, 2))
        return {"name": title, "x": points[:, 0].tolist(), "y": points[:, 1].tolist()}

    def group(title: str, count: int, middle: float) -> dict[str, Any]:
        return {"name": title, "values": draw.gamma(9, middle / 9, count).tolist()}

    motion = [None, *(0.02 + 0.004 * math.sin(i / 2) for i in range(1, FRAMES))]
    rows = [
        {"caption": caption, "videos": [f"samples/evaluation/{kind}-{i:03d}.mp4" for kind in kinds]}
        for kinds in [("made", "real")]
        for i, caption in enumerate(CAPTIONS)
    ]
    near = [
        {"caption": "", "videos": [f"samples/evaluation/{k}-{i:03d}.mp4" for k in KINDS[::2]]}
        for i in range(4)
    ]
    contrasts: list[tuple[Any, ...]] = [
        ("motion distance", 22.23, 25.9, -3.67, [-6.1, -1.2], 0.004, "better", "lower"),
        ("appearance distance", 33.21, 31.8, 1.41, [-2.2, 5.0], 0.45, "not told apart", "lower"),
        ("SSIM", 0.712, 0.741, -0.029, [-0.041, -0.017], 0.0002, "worse", "higher"),
        ("permanence", 63.0, 61.0, 2.0, None, None, "not told apart", "higher"),
    ]
    keys = ("name", "values", "difference", "interval", "p", "verdict", "better")
    corrected = {"motion distance": {"p_corrected": 0.008, "method": "paired, by clips"}}
    return {
        "format": 2, "created": "2026-11-22T14:17:33+00:00", "subject": name, "kind": kind,
        "checkpoint": "step-00000670" if kind == "run" else "",
        "scores": scores(factors, run=name),
        "missing": [
            {"name": title, "why": f"the network {net} is not here",
             "hint": f"put {net} (sha256 6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49f"
             f"b9129b2) into ~/.cache/muybridge, or name it by --weights {net}=PATH"}
            for title, net in (("FID", "inception-2015-12-05.pt"), ("FVD", "i3d_torchscript.pt"))
        ],
        "warnings": [
            "24 real clips are few: at this size motion distance is about 5.2 too large on average",
            "2 files were set aside: holiday 3.mp4 (broken after 0.4 s), b.mp4 (0.2 s long)",
        ],
        "curves": [
            {"title": "SSIM over time", "x": "seconds", "y": "SSIM",
             "note": "Bands: 95 % intervals.",
             "lines": [line("generated", falling, 0.03), line("real, held out", real, 0.012)]},
            {"title": "Amount of motion", "x": "seconds", "y": "mean flow, widths per second",
             "note": "", "lines": [
                 line("generated", motion, None),
                 line("real, held out", [0.031] * FRAMES, None),
                 line("first frame held still", [0.0] * FRAMES, None)]},
            {"title": "Classifier of actions", "x": "epoch", "y": "accuracy", "note": "", "lines": [
                {"name": title, "x": list(range(1, 41)), "low": None, "high": None,
                 "y": [top - 0.7 * math.exp(-i / 6) for i in range(40)]}
                for title, top in (("training", 0.99), ("validation", 0.86))]},
        ],
        "histograms": [
            {"title": "Distance to the nearest training clip", "x": "root mean square difference",
             "note": "Copies would stand far to the left.", "groups": [
                 group("generated", 128, 0.17), group("real, held out", 128, 0.19)]},
            {"title": "Motion of a clip", "x": "mean flow, widths per second", "note": "",
             "groups": [group("generated", 5000, 0.02), group("real, held out", 300, 0.03),
                        group("real, training", 300, 0.029)]},
        ],
        "scatter": [
            {"title": "Motion features, two principal directions", "x": "first direction",
             "y": "second", "groups": [cloud("generated", 800, 0.4, 0.5),
                                       cloud("real, held out", 128, 0.0, 1.0)]},
        ],
        "walls": [
            {"title": "Generated beside real", "columns": ["generated", "real, held out"],
             "rows": rows},
            {"title": "Nearest training clips", "columns": ["generated", "nearest"], "rows": near},
        ],
        "baselines": [
            {"name": "first frame held still", "note": "the first frame of a real clip, repeated",
             "scores": scores(HELD_STILL, run="")},
            {"name": "nearest training clip", "note": "", "scores": scores(NEAREST, run="")},
            {"name": "mean clip", "note": "", "scores": scores({"SSIM": 0.8}, frames=8)},
            {"name": "real held-out clips", "note": "the ceiling", "scores": scores(CEILING)},
        ],
        "comparison": {
            "against": "second",
            "rows": [dict(zip(keys, (r[0], [r[1], r[2]], *r[3:]), strict=True))
                     | corrected.get(r[0], {}) for r in contrasts],
            "refused": [{"name": "flicker", "field": "frames", "values": ["16", "8"]}],
        },
    }  # fmt: skip


CAPTIONS = [
    "a red ball bounces", "a blue square slides", "a green ball goes behind the pillar",
    "a red ball hits a blue square", "a yellow triangle spins while a red ball bounces",
    "a blue ball circles",
]  # fmt: skip
KINDS = ("made", "real", "near")


class Page(HTMLParser):
    """A page's tags, what they point to, and its words; each tag has to close as it opened."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.blocks: list[str] = []  # what stands in <pre>
        text: list[str] = []
        self.text = text
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open
        self.words = " ".join(" ".join(text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "input", "br", "path", "rect"):
            self.open.append(tag)
        if tag == "pre":
            self.blocks.append("")
        names = ("src", "href", "xlink:href", "poster", "srcset", "data", "action")
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.links += [value or "" for name, value in attrs if name in names]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)
        if "pre" in self.open:
            self.blocks[-1] += data


@pytest.fixture
def page() -> type[Page]:
    """Reads a page."""
    return Page


@pytest.fixture
def judged() -> Judged:
    """Makes a folder with `scores.json` in format 2, and with the videos that it names."""
    return make_judged


def make_judged(
    folder: Path, kind: str = "run", shift: float = 1.0, real: bool = False, **changes: Any
) -> Path:
    """`changes` replace parts of the document; `real` videos can be played, others are a word."""
    media = folder / "samples/evaluation"
    media.mkdir(parents=True)
    for column, name in enumerate(KINDS):
        for i in range(len(CAPTIONS)):
            content = video.encode(scene(i, column), RATE) if real else b"video"
            (media / f"{name}-{i:03d}.mp4").write_bytes(content)
    if kind == "run":
        (folder / "recipe.yaml").write_text("model:\n  kind: dit\nobjective:\n  kind: flow\n")
        (folder / "log.jsonl").write_text('{"kind": "end", "step": 670, "seconds": 900.0}\n')
    content = document(folder.name, kind, shift) | changes
    (folder / "scores.json").write_text(json.dumps(content))
    return folder


def scene(number: int, column: int) -> video.Frames:
    """A ball on its way, a bar below telling the frame; uint8 (time, 64, 64, 3)."""
    rows, columns = np.mgrid[:64, :64]
    frames = np.full((FRAMES, 64, 64, 3), 200 - 20 * column, np.uint8)
    for time, frame in enumerate(frames):
        x, y = 8 + 3 * time, 40 - 20 * abs(math.sin(0.4 * time + number))
        frame[(columns - x) ** 2 + (rows - y) ** 2 < 36] = (40 * number, 60 + 60 * column, 90)
        frame[60:, : 4 * time + 4] = 0
    return frames
