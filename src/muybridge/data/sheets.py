"""Pictures of footage for the eye: what was set aside, what each split holds, what is alike."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..core import video
from ..core.errors import DataError, MuybridgeError
from .fates import Piece
from .splits import NAMES

REJECTED, KEPT, ALIKE, TOGETHER = 12, 8, 12, 4  # the most that is shown of each
MOMENTS, HEIGHT = 4, 96  # frames of a clip's strip, and their height in pixels
QUALITY = 82  # of JPEG: a strip is about ten kilobytes
WIDEST = 4.0  # width of a frame over its height, beyond which it is cut at the sides

Picture = dict[str, Any]
Sheet = dict[str, Any]
Clip = Mapping[str, Any]  # a clip as its item's record has it
Thing = TypeVar("Thing")


def rejected(folder: Path, pieces: Sequence[Piece], folders: Sequence[Path]) -> list[Sheet]:
    """A sheet for each reason, of the strips left by reading; most seconds first.

    Args:
        folder: where `pictures/` lies.
        pieces: all stretches of the footage.
        folders: of the items.
    """
    by_word: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        if not piece.kept:
            by_word[piece.word].append(piece)
    order = sorted(by_word, key=lambda word: (-sum(p.seconds for p in by_word[word]), word))
    sheets = []
    for place, word in enumerate(order):
        chosen = _spread(by_word[word], REJECTED, lambda piece: piece.name)
        pictures = []
        for count, piece in enumerate(chosen):
            source = folders[piece.item] / piece.strip
            target = f"pictures/aside-{place:02d}-{count:02d}.jpg"
            there = bool(piece.strip) and _inside(source, folders[piece.item])
            if there:
                shutil.copyfile(source, folder / target)
            pictures.append(_picture(piece, target if there else None))
        sheets.append({"reason": word, "all": len(by_word[word]), "pictures": pictures})
    return sheets


def kept(
    folder: Path, pieces: Sequence[Piece], folders: Sequence[Path], clips: Sequence[Clip | None]
) -> list[Sheet]:
    """A sheet for each split (one named "" where there are none), groups taken in turn.

    Args:
        folder: where `pictures/` lies.
        pieces: all stretches of the footage.
        folders: of the items.
        clips: for each piece the record of its clip, or None.
    """
    places = [place for place, piece in enumerate(pieces) if piece.kept]
    sheets = []
    for name in (*NAMES, ""):
        side = [place for place in places if pieces[place].split == name]
        if side:
            chosen = _spread(side, KEPT, lambda place: pieces[place].group)
            pictures = [
                _frames(folder, f"{name or 'kept'}-{count:02d}", pieces[p], folders, clips[p])
                for count, p in enumerate(chosen)
            ]
            sheets.append({"split": name, "all": len(side), "pictures": pictures})
    return sheets


def alike(
    folder: Path,
    pieces: Sequence[Piece],
    folders: Sequence[Path],
    clips: Sequence[Clip | None],
    pairs: Sequence[tuple[int, int, str]] | None,
) -> dict[str, Any]:
    """Near-duplicates across files side by side.

    Args:
        folder: where `pictures/` lies.
        pieces: all stretches of the footage.
        folders: of the items.
        clips: for each piece the record of its clip, or None.
        pairs: places among `pieces` that were found alike, and how; None to show the groups that
            span files, whatever they were made for.

    Returns:
        `all` that were found and `rows` of those shown, each `how` and its `pictures`.
    """
    rows = _groups(pieces) if pairs is None else _pairs(pieces, pairs)
    shown = _spread(rows, ALIKE, lambda row: pieces[row[0][0]].group)
    made = []
    for number, (places, how) in enumerate(shown):
        pictures = [
            _frames(folder, f"alike-{number:02d}-{count}", pieces[p], folders, clips[p])
            for count, p in enumerate(places[:TOGETHER])
        ]
        made.append({"how": how, "all": len(places), "pictures": pictures})
    return {"all": len(rows), "rows": made}


def _pairs(
    pieces: Sequence[Piece], pairs: Sequence[tuple[int, int, str]]
) -> list[tuple[list[int], str]]:
    return [([a, b], how) for a, b, how in pairs if pieces[a].item != pieces[b].item]


def _groups(pieces: Sequence[Piece]) -> list[tuple[list[int], str]]:
    """The first clip of each file of a group, where the group has several files."""
    members: dict[str, dict[int, int]] = defaultdict(dict)
    for place, piece in enumerate(pieces):
        if piece.kept and piece.row:
            members[piece.group].setdefault(piece.item, place)
    return [(list(m.values()), "one group") for m in members.values() if len(m) > 1]


def _spread(things: Sequence[Thing], most: int, key: Callable[[Thing], str]) -> list[Thing]:
    """At most so many things, one of each key in turn, then the second of each; keys evenly."""
    by_key: dict[str, list[Thing]] = defaultdict(list)
    for thing in things:
        by_key[key(thing)].append(thing)
    if len(by_key) > most:
        names = list(by_key)
        places = np.linspace(0, len(names) - 1, most).round().astype(int)
        return [by_key[names[place]][0] for place in places]
    chosen: list[Thing] = []
    for turn in range(len(things)):
        chosen += [bucket[turn] for bucket in by_key.values() if turn < len(bucket)]
        if len(chosen) >= most:
            break
    return chosen[:most]


def _picture(piece: Piece, file: str | None) -> Picture:
    """What the page needs to show a piece: its picture, if there is one, and what it is."""
    return {
        "file": file,
        "name": piece.name,
        "start": piece.start,
        "end": piece.end,
        "note": without_folders(piece.reason, piece.name),
        "split": piece.split,
        "label": piece.text("label"),
    }


def without_folders(reason: str, name: str) -> str:
    """A reason with the footage's own place taken out, which is nobody's business on a page."""
    before, found, after = reason.partition(name)
    return before[: before.index("/")] + found + after if found and "/" in before else reason


def _frames(
    folder: Path, name: str, piece: Piece, folders: Sequence[Path], clip: Clip | None
) -> Picture:
    """Writes moments of a clip from left to right; a clip whose mp4 is not there has no picture."""
    path = folders[piece.item] / str(clip["video"] if clip else "")
    if clip is None or not _inside(path, folders[piece.item]):
        return _picture(piece, None)
    count = max(int(clip["frames"]), 1)
    places = set(np.linspace(0, count - 1, min(MOMENTS, count)).round().astype(int).tolist())
    try:
        decoded = enumerate(video.decode(path))
        frames = [_small(picture) for place, (_, picture) in decoded if place in places]
    except DataError:
        frames = []
    if not frames:
        return _picture(piece, None)
    target = f"pictures/{name}.jpg"
    wall = video.tile([frame[None] for frame in frames], columns=len(frames))[0]
    (folder / target).write_bytes(_jpeg(wall))
    return _picture(piece, target)


def _inside(path: Path, folder: Path) -> bool:
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _small(picture: video.Frames) -> video.Frames:
    import cv2

    height, width = picture.shape[:2]
    surplus = max(width - int(WIDEST * height), 0)
    picture = picture[:, surplus // 2 : width - (surplus - surplus // 2)]
    size = (max(round(picture.shape[1] * HEIGHT / height), 1), HEIGHT)
    how = cv2.INTER_AREA if height > HEIGHT else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)


def _jpeg(picture: video.Frames) -> bytes:
    import cv2

    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise MuybridgeError(f"a picture of shape {picture.shape} could not be written as JPEG")
    return data.tobytes()
