"""What came in, what went out and why, in numbers and pictures, to be looked at before training.

`report/footage.py` shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..core import files
from . import balance, diversity, fates, sheets
from .fates import Piece, number
from .splits import NAMES

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
FEWEST, MOST = 8, 24  # bins of a histogram
LISTED = 300  # files named one by one; the catalogue has them all
WORDS = 24  # most values of a distribution of words
DECADES = 1e4  # from the highest value of a logarithmic histogram to its lowest bin


@dataclass(frozen=True)
class Figure:
    """How a figure is drawn; values that differ by factors go on a logarithmic axis."""

    name: str
    title: str
    unit: str
    logarithmic: bool = False


FIGURES = (
    Figure("seconds", "Length", "seconds", True),
    Figure("brightness", "Brightness", "0 is black, 1 is white"),
    Figure("contrast", "Contrast", "standard deviation of brightness"),
    Figure("saturation", "Saturation", "0 is grey, 1 is pure colour"),
    Figure("sharpness", "Sharpness", "variance of the Laplacian, grey levels squared", True),
    Figure("noise", "Noise", "standard deviation, grey levels", True),
    Figure("motion", "Motion", "mean change in 1/24 s, grey levels", True),
    Figure("camera", "Camera", "picture widths a second", True),
    Figure("flat", "Areas without texture", "share of the picture"),
    Figure("dark", "Clipped to black", "share of the picture"),
    Figure("light", "Clipped to white", "share of the picture"),
    Figure("height", "Shorter side", "pixels"),
)


def write(
    folder: Path,
    items: Sequence[dict[str, Any]],
    folders: Sequence[Path],
    clips: pd.DataFrame | None,
    settings: Mapping[str, Any],
    pairs: Sequence[tuple[int, int, str]] | None = None,
) -> dict[str, Any]:
    """Writes `overview.json` and `pictures/`.

    Args:
        folder: the dataset's folder, or any other.
        items: the records of the files, one each.
        folders: each item's folder, with `arrays.npz`, mp4s and strips.
        clips: the catalogue's rows of clips, or None where nothing was labelled and split.
        settings: the thresholds by name. `min_F` and `max_F` are drawn over the distribution of
            the figure F; `max_seconds` is the length at which long shots are cut up.
        pairs: rows of `clips` that were found alike, and how; None where that is not known, and
            then the groups that span files are shown.

    Returns:
        What `overview.json` holds.

    Raises:
        DataError: the sums do not add up.
    """
    pieces = fates.pieces(items, clips)
    made = [_clip(piece, items) for piece in pieces]
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    longest = number(settings.get("max_seconds"))
    overview = {
        "format": FORMAT,
        "table": fates.table(items, pieces),
        "warnings": diversity.warnings(pieces, folders, longest) + balance.differences(pieces),
        "distributions": distributions(pieces),
        "thresholds": thresholds(pieces, settings),
        "words": words(pieces),
        "kept": sheets.kept(folder, pieces, folders, made),
        "aside": sheets.rejected(folder, pieces, folders),
        "alike": sheets.alike(folder, pieces, folders, made, _places(pieces, clips, pairs)),
        "files": _listed(items, pieces),
        "settings": dict(settings),
    }
    files.write_json(folder / "overview.json", overview)
    return overview


def _clip(piece: Piece, items: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return items[piece.item]["clips"][piece.clip] if piece.clip is not None else None


def _places(
    pieces: Sequence[Piece],
    clips: pd.DataFrame | None,
    pairs: Sequence[tuple[int, int, str]] | None,
) -> list[tuple[int, int, str]] | None:
    """Pairs of rows of the catalogue as pairs of places among the pieces."""
    if clips is None or pairs is None:
        return None
    place = {piece.row["place"]: index for index, piece in enumerate(pieces) if piece.row}
    return [(place[first], place[second], how) for first, second, how in pairs]


def distributions(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """Histograms of each figure over the clips kept: counts by split, over edges in common."""
    sides = _sides(pieces)
    found = []
    for figure in FIGURES:
        values = {
            name: np.array([v for piece in side if (v := piece.figure(figure.name)) is not None])
            for name, side in sides.items()
        }
        known = np.concatenate(list(values.values())) if values else np.empty(0)
        if len(known):
            edges = _edges(known, figure.logarithmic)
            found.append(
                _described(figure, edges)
                | {
                    "splits": {name: _counts(v, edges).tolist() for name, v in values.items()},
                    "medians": {n: float(np.median(v)) for n, v in values.items() if len(v)},
                }
            )
    return found


def thresholds(pieces: Sequence[Piece], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each `min_F` and `max_F` how the figure F is spread over all footage, by seconds.

    Each has the seconds kept and set aside by bin, and `beyond`: the seconds on the wrong side of
    the threshold, of half and of twice the threshold. A figure that was measured nowhere has none.
    """
    known = {figure.name: figure for figure in FIGURES}
    found = []
    for name, value in settings.items():
        side, _, rest = name.partition("_")
        limit = number(value)
        if side not in ("min", "max") or rest not in known or limit is None:
            continue
        triples = [
            (v, piece.seconds, piece.kept)
            for piece in pieces
            if (v := piece.figure(rest)) is not None
        ]
        if triples:
            found.append({"name": name} | _threshold(known[rest], side, limit, np.array(triples)))
    return found


def _threshold(
    figure: Figure, side: str, limit: float, triples: npt.NDArray[np.float64]
) -> dict[str, Any]:
    values, seconds, kept = triples.T
    marks = [limit] if limit > 0 or not figure.logarithmic else []
    edges = _edges(np.append(values, marks), figure.logarithmic)
    return _described(figure, edges) | {
        "side": side,
        "value": limit,
        "kept": _counts(values, edges, seconds * kept).tolist(),
        "aside": _counts(values, edges, seconds * (1 - kept)).tolist(),
        "seconds": float(seconds.sum()),
        "beyond": {
            word: float(seconds[(values < mark) if side == "min" else (values > mark)].sum())
            for word, mark in (("set", limit), ("half", limit / 2), ("twice", limit * 2))
        },
    }


def words(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """How often each size, rate and label occurs among the clips kept, by split."""
    ways: dict[str, Callable[[Piece], str]] = {
        "Size of the footage": lambda p: (
            f"{p.facts['width']} x {p.facts['height']}" if p.facts.get("width") else ""
        ),
        "Rate of the footage": lambda p: (
            f"{rate:.4g} a second" if (rate := number(p.facts.get("fps"))) else ""
        ),
        "Codec of the footage": lambda p: str(p.facts.get("codec") or ""),
        "Label": lambda p: p.text("label"),
        "Licence": lambda p: p.text("licence"),
    }
    sides = _sides(pieces)
    found = []
    for title, way in ways.items():
        counts = {name: Counter(filter(None, map(way, side))) for name, side in sides.items()}
        total = sum(counts.values(), Counter[str]())
        if total:
            shown = [word for word, _ in total.most_common(WORDS)]
            rows = {w: {name: count[w] for name, count in counts.items()} for w in shown}
            found.append({"title": title, "all": len(total), "rows": rows})
    return found


def _sides(pieces: Sequence[Piece]) -> dict[str, list[Piece]]:
    """The clips kept, by split; all as "kept" where nothing was split yet."""
    kept = [piece for piece in pieces if piece.kept]
    if not any(piece.split for piece in kept):
        return {"kept": kept} if kept else {}
    return {name: [piece for piece in kept if piece.split == name] for name in NAMES}


def _described(figure: Figure, edges: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {
        "figure": figure.name,
        "title": figure.title,
        "unit": figure.unit,
        "logarithmic": figure.logarithmic,
        "edges": edges.tolist(),
    }


def _edges(values: npt.NDArray[np.float64], logarithmic: bool) -> npt.NDArray[np.float64]:
    """Edges that hold all values; a logarithmic lowest bin also holds what lies below it."""
    low, high = float(values.min()), float(values.max())
    bins = int(np.clip(2 * np.sqrt(len(values)), FEWEST, MOST))
    if logarithmic and high > 0:
        positive = float(values[values > 0].min())
        low = max(positive, high / DECADES) / 1.05
        return np.geomspace(low, max(high, low * 1.2) * 1.05, bins + 1)
    if high - low < 1e-9:
        margin = 0.1 * abs(low) or 0.5
        low, high = low - margin, high + margin
    return np.linspace(low, high, bins + 1)


def _counts(
    values: npt.NDArray[np.float64],
    edges: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    inside = np.clip(values, edges[0], edges[-1])
    return np.asarray(np.histogram(inside, edges, weights=weights)[0], np.float64)


def _listed(items: Sequence[Mapping[str, Any]], pieces: Sequence[Piece]) -> dict[str, Any]:
    """Files and their fates, those with the most set aside first."""
    kept, reasons = Counter[int](), [dict[str, str]() for _ in items]
    lost = np.zeros(len(items))
    for piece in pieces:
        kept[piece.item] += piece.kept
        if not piece.kept:
            lost[piece.item] += piece.seconds
            text = sheets.without_folders(piece.reason, piece.name)
            reasons[piece.item].setdefault(piece.word, text)
    order = sorted(range(len(items)), key=lambda i: (kept[i] > 0, -lost[i], items[i]["name"]))
    rows = [
        {
            "name": items[i]["name"],
            "seconds": number((items[i].get("facts") or {}).get("seconds")),
            "lost": float(lost[i]),
            "clips": kept[i],
            "reasons": list(reasons[i].values()),
        }
        for i in order[:LISTED]
    ]
    return {"all": len(items), "rows": rows}
