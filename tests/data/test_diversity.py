"""Each warning comes when its cause is put in, and none for footage that is balanced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muybridge.data import diversity, overview
from muybridge.data.fates import Piece

Pieces = list[Piece]
Change = Callable[[int, Piece], Piece]


def balanced(folder: Path) -> tuple[Pieces, list[Path]]:
    """Forty clips of twenty sources: unlike places, lights, cameras, motions, four labels."""
    draw = np.random.default_rng(7)
    pieces, folders = [], []
    for source in range(20):
        folders.append(folder / f"{source:02d}")
        folders[-1].mkdir(parents=True)
        signatures = {}
        for clip in range(2):
            place = draw.uniform(0, 255, (1, 16, 16)).astype(np.uint8)
            signatures[f"signature_{clip}"] = np.repeat(place, 8, axis=0)
            figures = {
                "brightness": draw.uniform(0.2, 0.8),
                "colour": draw.uniform(0.2, 0.6, 3).tolist(),
                "camera": float(draw.choice([0.01, 0.2])),
                "motion": float(np.exp(draw.uniform(0, 2.5))),
                "flat": draw.uniform(0.05, 0.4),
            }
            row = {"group": source, "label": "abcd"[(source + clip) % 4], "split": "train"}
            length = draw.uniform(2, 5)
            pieces.append(
                Piece(
                    source, f"{source}.mp4", 5.0 * clip, 5.0 * clip + length, "", clip, "", figures,
                    {}, row,
                )
            )  # fmt: skip
        np.savez(folders[-1] / "arrays.npz", **signatures)
    return pieces, folders


def said(pieces: Pieces, folders: list[Path], longest: float | None = None) -> list[str]:
    return [one["says"] for one in diversity.warnings(pieces, folders, longest)]


def test_balanced_footage_raises_no_warning(tmp_path: Path) -> None:
    assert said(*balanced(tmp_path)) == []


def figures(**new: Any) -> Change:
    return lambda _, piece: replace(piece, figures={**piece.figures, **new})


def row(**new: Any) -> Change:
    return lambda _, piece: replace(piece, row={**piece.row, **new})


def length(seconds: Callable[[int], float]) -> Change:
    return lambda index, piece: replace(piece, end=piece.start + seconds(index))


def every(count: int, change: Change) -> Change:
    return lambda index, piece: change(index, piece) if index % count else piece


@pytest.mark.parametrize(
    ("cause", "warning"),
    [
        (
            lambda i, p: figures(brightness=0.5 + i / 1e3, colour=[0.3, 0.3, 0.3 + i / 1e4])(i, p),
            "Looks like one light",
        ),
        (figures(camera=0.0), "Looks like one kind of camera: still"),
        (figures(camera=0.3), "Looks like one kind of camera: moving"),
        (lambda i, p: figures(motion=2 + i / 40)(i, p), "Looks like one kind of motion"),
        (lambda i, p: figures(motion=8.0 if i % 2 else 0.1)(i, p), "Motion is uneven"),
        (figures(flat=0.9), "Looks like animation alone, or bare backgrounds"),
        (
            lambda i, p: figures(flat=0.9 if i % 3 else 0.1)(i, p),
            "Looks like a mixture of animation and live action",
        ),
        (every(3, row(label="a")), "One label dominates"),
        (row(label="a"), "All labels are the same"),
        (lambda i, p: row(label="" if i == 5 else p.row["label"])(i, p), "Labels are missing"),
        (row(label=""), "No labels or captions"),
        (lambda i, p: row(group=i % 9)(i, p), "Few independent sources"),
        (row(source="the same film"), "Few independent sources"),
        (
            length(lambda i: 200.0 if i == 1 else 3.0),
            "One source gives most of the footage",
        ),
        (length(lambda i: 60.0 if i % 2 else 2.0), "Clip lengths are uneven"),
        (length(lambda i: 0.4 + 0.01 * i), "Looks fast cut"),
    ],
)  # fmt: skip
def test_a_cause_put_in_raises_its_warning_alone(
    tmp_path: Path, cause: Change, warning: str
) -> None:
    pieces, folders = balanced(tmp_path)
    assert said([cause(i, piece) for i, piece in enumerate(pieces)], folders) == [warning]


def test_one_setting_is_seen_in_the_mean_pictures(tmp_path: Path) -> None:
    pieces, folders = balanced(tmp_path)
    draw = np.random.default_rng(1)
    place = draw.uniform(40, 200, (1, 16, 16))
    for folder in folders[:12]:
        noisy = [(place * light + draw.normal(0, 12, (8, 16, 16))) for light in (0.6, 1.0)]
        arrays = [one.clip(0, 255).astype(np.uint8) for one in noisy]
        np.savez(folder / "arrays.npz", signature_0=arrays[0], signature_1=arrays[1])
    found = diversity.warnings(pieces, folders)
    assert [one["says"] for one in found] == ["Looks like one setting"]
    assert found[0]["figure"].startswith("24 of 40 clips")
    assert found[0]["figure"].endswith("17 settings in all")


def test_bare_backgrounds_are_one_setting_and_no_chain_joins_unlike_ones() -> None:
    draw = np.random.default_rng(3)
    bare = [np.full((16, 16), level) + draw.normal(0, 0.5, (16, 16)) for level in (20, 90, 250)]
    assert len(set(diversity.settings_of(np.array(bare)))) == 1
    first, last = draw.normal(0, 40, (2, 16, 16))
    chain = [np.cos(angle) * first + np.sin(angle) * last for angle in np.linspace(0, np.pi / 2, 9)]
    found = diversity.settings_of(np.array(chain))
    assert found[0] != found[-1]


def test_cuts_of_shots_that_are_too_long_are_no_cuts(tmp_path: Path) -> None:
    pieces, folders = balanced(tmp_path)
    # Each source is one shot, chopped at a second.
    whole = [
        replace(p, start=k, end=k + 1.0, clip=None) for p in pieces[::2] for k in range(4)
    ]  # fmt: skip
    assert "Looks fast cut" in said(whole, folders)
    assert "Looks fast cut" not in said(whole, folders, longest=1.0)


def test_few_clips_are_not_judged(tmp_path: Path) -> None:
    pieces, folders = balanced(tmp_path)
    alike = [figures(camera=0.0, motion=1.0)(0, piece) for piece in pieces[:4]]
    assert said(alike, folders) == ["Few independent sources"]
    assert said([], folders) == []


def test_before_labelling_nothing_is_said_of_labels(tmp_path: Path) -> None:
    pieces, folders = balanced(tmp_path)
    assert said([replace(piece, row={}) for piece in pieces], folders) == []


def test_every_warning_carries_a_figure_and_a_remedy(footage: Any, tmp_path: Path) -> None:
    found = overview.write(tmp_path, footage.items, footage.folders, footage.clips, {})["warnings"]
    assert found
    for one in found:
        assert set(one) == {"says", "figure", "do"}
        assert any(c.isdigit() for c in one["figure"])
        assert one["do"].endswith(".")
