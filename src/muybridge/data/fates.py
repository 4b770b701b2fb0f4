"""What became of every stretch of the footage, and the sums that show nothing got lost."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..core.errors import DataError
from .splits import NAMES

if TYPE_CHECKING:
    import pandas as pd

# Seconds by which sums may differ: less than a frame at any usual rate, more than rounded times do.
SLACK = 0.01


@dataclass(frozen=True)
class Piece:
    """A stretch of one file, kept as a clip or set aside.

    Attributes:
        item: the file's place among the items.
        name: the file, relative to the footage folder.
        start: seconds from the file's first frame.
        end: as `start`.
        reason: "WORD: details" where it is set aside, "" where it is kept.
        clip: number of its clip in the item; None where there is none.
        strip: name of its picture in the item's folder, or "".
        figures: what was measured of it.
        facts: what is known of the whole file.
        row: its row in the catalogue and, as `place`, that row's number among the clips'; empty
            where there is no catalogue yet.
    """

    item: int
    name: str
    start: float
    end: float
    reason: str
    clip: int | None = None
    strip: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Its length in the footage."""
        return self.end - self.start

    @property
    def kept(self) -> bool:
        """Whether it became a clip."""
        return not self.reason

    @property
    def word(self) -> str:
        """The reason without its details."""
        return self.reason.partition(":")[0].strip()

    def text(self, column: str) -> str:
        """A text of its catalogue row; "" where there is none."""
        value = self.row.get(column)
        return value if isinstance(value, str) else ""

    @property
    def split(self) -> str:
        """The split it is in; "" before there is one."""
        return self.text("split")

    @property
    def group(self) -> str:
        """What it may not be parted from: its group of duplicates, else its file."""
        value = self.row.get("group")
        return self.name if value is None or value != value else str(value)

    def figure(self, name: str) -> float | None:
        """A figure as a finite number, also `seconds` and `height` (pixels of the shorter side)."""
        if name == "seconds":
            return self.seconds
        if name == "height":
            sides = [number(self.facts.get(side)) for side in ("width", "height")]
            known = [side for side in sides if side is not None]
            return min(known) if known else None
        return number(self.figures.get(name))


def number(value: object) -> float | None:
    """A finite number as float; anything else is None."""
    try:
        found = float(value) if not isinstance(value, str | bytes | bool) else math.nan  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def pieces(items: Sequence[Mapping[str, Any]], clips: pd.DataFrame | None) -> list[Piece]:
    """Every stretch of every file, in order.

    Args:
        items: the records of the files, one each.
        clips: the catalogue's rows of clips, or None where nothing was split yet.

    Raises:
        DataError: the parts of a file do not touch or do not add up to its length, a file has
            neither parts nor a reason, or parts and catalogue do not name the same clips.
    """
    rows = _rows(clips)
    found = []
    for index, item in enumerate(items):
        for piece in _of_file(index, item):
            if piece.kept and clips is not None:
                piece = _with_row(piece, item, rows)
            found.append(piece)
    # Parts that were set aside may have rows too; their own records said so already.
    left = [key for key, row in rows.items() if row.get("fate", "kept") == "kept"]
    if left:
        name, start = left[0]
        raise _broken(name, f"the catalogue has a clip at {start:.3f} s that no part became")
    return found


def _rows(clips: pd.DataFrame | None) -> dict[tuple[str, float], Mapping[str, Any]]:
    if clips is None:
        return {}
    records = (clips[clips["kind"] == "clip"] if "kind" in clips else clips).to_dict("records")
    named = [
        {str(key): value for key, value in record.items()} | {"place": place}
        for place, record in enumerate(records)
    ]
    return {(str(row["file"]), round(float(row["start"]), 3)): row for row in named}


def _of_file(index: int, item: Mapping[str, Any]) -> list[Piece]:
    name, reason, facts = item["name"], str(item.get("reason") or ""), item.get("facts") or {}
    whole = number(facts.get("seconds"))
    parts = item.get("parts") or []
    if not parts:
        if not reason:
            raise _broken(name, "it has neither parts nor a reason")
        figures = item.get("figures") or {}
        return [Piece(index, name, 0.0, whole or 0.0, reason, figures=figures, facts=facts)]
    found, last = [], 0.0
    for part in parts:
        start, end = float(part["start"]), float(part["end"])
        if abs(start - last) > SLACK or end < start:
            raise _broken(name, f"a part begins at {start:.3f} s, where {last:.3f} s is expected")
        last = end
        aside = "" if part["fate"] == "kept" else str(part.get("reason") or reason)
        if part["fate"] == "kept" and (reason or part.get("clip") is None):
            raise _broken(name, f"a part at {start:.3f} s is kept, but the file has no clip of it")
        if part["fate"] != "kept" and not aside:
            raise _broken(name, f"a part at {start:.3f} s is set aside without a reason")
        piece = Piece(
            index, name, start, end, aside, part.get("clip"), str(part.get("strip") or ""),
            part.get("figures") or {}, facts,
        )  # fmt: skip
        found.append(piece)
    if whole is not None and abs(last - whole) > SLACK:
        raise _broken(name, f"its parts are {last:.3f} s, the file is {whole:.3f} s")
    return found


def _with_row(
    piece: Piece,
    item: Mapping[str, Any],
    rows: dict[tuple[str, float], Mapping[str, Any]],
) -> Piece:
    clip = item["clips"][piece.clip]
    row = rows.pop((piece.name, round(float(clip["start"]), 3)), None)
    if row is None:
        raise _broken(piece.name, f"the clip at {clip['start']:.3f} s is not in the catalogue")
    # What was kept here may still be set aside by a later stage, which tells the catalogue alone.
    fate = row.get("fate", "kept")
    reason = "" if fate == "kept" else str(row.get("reason") or "no reason given")
    figures = {**(clip.get("figures") or {}), **piece.figures}
    return Piece(
        piece.item, piece.name, piece.start, piece.end, reason, piece.clip, piece.strip, figures,
        piece.facts, row,
    )  # fmt: skip


def _broken(name: str, what: str) -> DataError:
    return DataError(
        f"the sums of the footage do not add up: {name}: {what}",
        "remove the folder `items` of the dataset and run the same command again",
    )


def table(items: Sequence[Mapping[str, Any]], found: Sequence[Piece]) -> dict[str, Any]:
    """What came in, what was kept, what was set aside and why; the sums are checked.

    A file counts as kept if any part of it is; else it counts under the reason that took most of
    it. `touched` are all the files that lost something for a reason, `seconds` are by part.

    Raises:
        DataError: kept and set aside together are not what came in, or the splits not what is kept.
    """
    lengths = [number((item.get("facts") or {}).get("seconds")) for item in items]
    arrived = {"files": len(items), "seconds": sum(length or 0.0 for length in lengths)}
    kept = [piece for piece in found if piece.kept]
    result = {
        "in": arrived | {"unknown": sum(length is None for length in lengths)},
        "kept": _count(kept),
        "aside": _reasons(found),
        "splits": {
            name: _count([piece for piece in kept if piece.split == name])
            for name in NAMES
            if any(piece.split for piece in kept)
        },
    }
    check(result)
    return result


def _count(kept: Sequence[Piece]) -> dict[str, Any]:
    return {
        "files": len({piece.item for piece in kept}),
        "clips": len(kept),
        "groups": len({piece.group for piece in kept}),
        "seconds": sum(piece.seconds for piece in kept),
    }


def _reasons(found: Sequence[Piece]) -> list[dict[str, Any]]:
    kept = {piece.item for piece in found if piece.kept}
    seconds: dict[str, float] = defaultdict(float)
    touched: dict[str, set[int]] = defaultdict(set)
    of_file: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    parts = Counter(piece.word for piece in found if not piece.kept)
    for piece in found:
        if not piece.kept:
            seconds[piece.word] += piece.seconds
            touched[piece.word].add(piece.item)
            of_file[piece.item][piece.word] += piece.seconds
    main = Counter(
        max(words, key=lambda word: words[word])
        for item, words in of_file.items()
        if item not in kept
    )
    order = sorted(parts, key=lambda word: (-seconds[word], -parts[word], word))
    return [
        {
            "reason": word,
            "files": main[word],
            "touched": len(touched[word]),
            "parts": parts[word],
            "seconds": seconds[word],
        }
        for word in order
    ]


def check(result: Mapping[str, Any]) -> None:
    """Checks that a table adds up.

    Raises:
        DataError: it does not.
    """
    arrived, kept, aside = result["in"], result["kept"], result["aside"]
    sums = [
        ("files", arrived["files"], kept["files"] + sum(row["files"] for row in aside), 0.0),
        ("seconds", arrived["seconds"], kept["seconds"] + sum(row["seconds"] for row in aside),
         SLACK * max(arrived["files"], 1)),
    ]  # fmt: skip
    if result["splits"]:
        sides = result["splits"].values()
        sums += [
            (f"{what} of the splits", kept[what], sum(side[what] for side in sides), slack)
            for what, slack in (("clips", 0.0), ("groups", 0.0), ("seconds", SLACK))
        ]
    for what, whole, parts, slack in sums:
        if abs(whole - parts) > slack:
            raise _broken("all of it", f"{what}: {whole:g} in all, {parts:g} by the rows")
