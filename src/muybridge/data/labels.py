"""Captions and labels of footage: found, matched with its files, checked, cut to clips."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

from ..core.errors import DataError, nearest
from ..core.progress import say
from ..core.video import SUFFIXES
from .label_files import Note, published, read, split_named

__all__ = [
    "FOUND_BY_ITSELF", "Note", "boundaries", "check", "find", "fitted", "gather", "of_clip",
    "of_folders", "read",
]  # fmt: skip

FOUND_BY_ITSELF = (
    "metadata.jsonl", "metadata.csv", "metadata.tsv", "labels.csv", "labels.jsonl", "labels.tsv",
)  # fmt: skip
# Published lists: UCF's first fold, one table of Kinetics a split.
FOUND_TOGETHER = (
    ("trainlist01.txt",),
    ("train.csv", "validate.csv", "validation.csv", "val.csv", "test.csv"),
)
UNSEEN_LAST = ("train", "validation", "test")

# Kinetics as it is given out: the video's id and the seconds that were cut from it.
_EXCERPT = re.compile(r"(.+)_(\d{6})_(\d{6})")
_YOUTUBE = re.compile(r"[\w-]{11}")
_GROUP = re.compile(r"(v_.+_g\d+)_c\d+")

RARE = 3  # clips: with fewer, a label cannot be in all three splits
FAR_MORE = 5  # times as frequent, so that the rarer of two like words is likely a slip
SHOWN = 10  # warnings of one kind


# Finding and matching


def find(footage: Path) -> list[Path]:
    """The labels files lying in a folder of footage: in the folder itself or, where it has none, in
    the folders below, as Hugging Face puts one in each split's folder."""
    found: list[Path] = []
    for folder, below, names in os.walk(footage):
        below.sort()
        here = next(([name] for name in FOUND_BY_ITSELF if name in names), [])
        for together in FOUND_TOGETHER:
            here = here or [n for n in together if n in names and published(Path(folder) / n)]
        found += [Path(folder) / name for name in here]
        if here and Path(folder) == footage:
            break
    return found


def gather(
    files: Sequence[Path], footage: Path, given: Path | None = None
) -> dict[str, list[Note]]:
    """All that is known of the files of a folder of footage.

    Args:
        files: the videos in it.
        footage: the folder.
        given: a labels file or a folder of them; without it, those lying in `footage` are used,
            else the names of folders.

    Returns:
        For each file, named from `footage`, its notes in the order of the rows; none where nothing
        is known. A split's folder, and the source in a name of UCF101 or Kinetics, stand where a
        labels file does not say.

    Raises:
        DataError: a labels file that cannot be used, see `read`, or that names none of the files.
    """
    names = sorted(file.relative_to(footage).as_posix() for file in files)
    if given is not None and given.is_dir():
        paths = find(given)
        if not paths:
            raise DataError(
                f"{given} holds no labels file",
                f"name the file itself; found by themselves are {', '.join(FOUND_BY_ITSELF)}",
            )
    else:
        paths = [given] if given is not None else find(footage)
    notes: dict[str, list[Note]] = {name: [] for name in names}
    if paths:
        _match(paths, footage, notes)
    folders = of_folders(list(files), footage)
    asked = any(note.split for own in notes.values() for note in own)
    for name, own in notes.items():
        folder = folders.get(name, Note())
        if not paths and folder != Note():
            own.append(folder)
        elif folder.split and not asked:
            own[:] = [replace(note, split=folder.split) for note in own or [Note()]]
        source = _source_of(name)
        if source and not any(note.source for note in own):
            own[:] = [replace(note, source=source) for note in own or [Note()]]
    return notes


def of_folders(files: list[Path], footage: Path) -> dict[str, Note]:
    """What folders say: train/walk/a.mp4 is asked for in train and its label is "walk".

    Folders are splits where two or more splits have one, or where there are no others than one
    split's, which then asks for nothing. Folders on the next level, or the first, are classes where
    there are two or more.
    """
    parts = {file: file.relative_to(footage).parts for file in files}
    tops = {way[0] for way in parts.values() if len(way) > 1}
    splits = {top: split_named(top) for top in tops}
    several = len({split for split in splits.values() if split}) > 1
    if several or (tops and all(splits.values())):
        parts = {file: way[bool(splits.get(way[0])) :] for file, way in parts.items()}
    classes = {way[0] for way in parts.values() if len(way) > 1}
    notes = {}
    for file, way in parts.items():
        name = file.relative_to(footage)
        split = splits.get(name.parts[0], "") if several else ""
        label = way[0] if len(way) > 1 and len(classes) > 1 else ""
        if split or label:
            notes[name.as_posix()] = Note(label=label, split=split)
    return notes


def _match(paths: Sequence[Path], footage: Path, notes: dict[str, list[Note]]) -> None:
    """Adds each row of the labels files to the file that it names."""
    index: dict[str, list[str]] = defaultdict(list)
    for name in notes:
        stem = _stem(name)
        index[stem].append(name)
        if match := _EXCERPT.fullmatch(stem):
            index[match[1]].append(name)
    absent, unclear, rows, first = 0, 0, 0, ""
    for path in paths:
        inside = path.parent.is_relative_to(footage)
        base = path.parent.relative_to(footage).as_posix() if inside else "."
        for said, own in read(path).items():
            rows, first = rows + 1, first or said
            named = _named(said, base, notes, index)
            excerpts = all(_is_excerpt(name, said) for name in named)
            if len(named) == 1 or excerpts:
                for name in named:
                    notes[name] += _of_excerpt(name, own) if excerpts else own
            absent, unclear = absent + (not named), unclear + (len(named) > 1 and not excerpts)
    told = ", ".join(map(str, paths[:3])) + (f" and {len(paths) - 3} more" if paths[3:] else "")
    if absent == rows and notes:
        raise DataError(
            f"{told} names none of the {len(notes)} videos in {footage}: it says {first!r}, the "
            f"folder has {min(notes)!r}",
            "file names are relative to the footage folder",
        )
    doubts = [f"{absent} of its names are of no video here"] * bool(absent)
    doubts += [f"{unclear} could be of several and are not used: give the folder"] * bool(unclear)
    say(f"labels: {told}" + (f" ({'; '.join(doubts)})" if doubts else ""))


def _named(
    said: str, base: str, names: Mapping[str, object], index: Mapping[str, Sequence[str]]
) -> list[str]:
    """The files that a name in a labels file could mean; the first rule that finds one decides."""
    for exact in ((PurePosixPath(base) / said).as_posix(), said):
        if exact in names:
            return [exact]
    said = said.replace("\\", "/")
    likely = [name for name in index.get(_stem(said), ()) if _same_way(said, name)]
    same = [name for name in likely if PurePosixPath(name).name == PurePosixPath(said).name]
    return same or likely


def _same_way(said: str, name: str) -> bool:
    """Whether the folders agree: one way is the end of the other. Of a path from the root, made on
    some other machine, the last folder is enough."""
    first, second = PurePosixPath(said).parts[-2::-1], PurePosixPath(name).parts[-2::-1]
    shared = min(len(first), len(second))
    if PurePosixPath(said).is_absolute() or re.match(r"[A-Za-z]:/", said):
        shared = min(shared, 1)
    return first[:shared] == second[:shared]


def _stem(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _is_excerpt(name: str, said: str) -> bool:
    match = _EXCERPT.fullmatch(_stem(name))
    return match is not None and _stem(said) == match[1]


def _of_excerpt(name: str, own: list[Note]) -> list[Note]:
    """Of a file that was cut from a video by its id and times, the row with those times, which then
    holds for all of the file."""
    times = tuple(float(number) for number in _stem(name).split("_")[-2:])
    same = [note for note in own if (note.start, note.end) == times] or own
    return [replace(note, start=None, end=None) for note in same]


def _source_of(name: str) -> str:
    """What a file was cut from, where a published set says it in the name."""
    stem = _stem(name)
    if match := _EXCERPT.fullmatch(stem):
        return match[1] if _YOUTUBE.fullmatch(match[1]) else ""
    match = _GROUP.fullmatch(stem)
    return match[1] if match else ""


# Notes of a clip


def fitted(notes: Sequence[Note], seconds: float) -> list[Note]:
    """Notes of a file that is `seconds` long: times that are those of the video it was cut from,
    known by an end past the file's and by a length that is the file's, are taken away."""
    timed = [note for note in notes if note.start is not None and note.end is not None]
    spans = {(note.start, note.end) for note in timed}
    if len(spans) == 1:
        ((start, end),) = spans
        # A second of slack: who cuts at keyframes gets a little more or less.
        if start and end and end > seconds + 1 and abs(end - start - seconds) <= 1:
            return [replace(n, start=None, end=None) if n in timed else n for n in notes]
    return list(notes)


def of_clip(notes: Sequence[Note], start: float, end: float) -> Note:
    """What holds for the clip from `start` to `end` seconds of its file, as a note without times.

    A note without times holds for all, one with times where it covers at least half of the clip.
    Of several captions, and of several labels, one stands: written for a stretch before written for
    the whole file, then that which covers most, then the shorter stretch, then the earlier row.
    Objects are united. Split, source and licence are of the file wherever they were said in it: the
    split that must stay unseen, the first source, and all licences joined by " AND ".
    """
    ranked = sorted(
        (note for note in notes if 2 * _cover(note, start, end) >= end - start),
        key=lambda n: (not _timed(n), -_cover(n, start, end), _span(n)[1] - _span(n)[0]),
    )
    licences = dict.fromkeys(note.licence for note in ranked if note.licence)
    licences = licences or dict.fromkeys(note.licence for note in notes if note.licence)
    return Note(
        caption=next((note.caption for note in ranked if note.caption), ""),
        label=next((note.label for note in ranked if note.label), ""),
        objects=tuple(
            dict.fromkeys(name for note in notes if note in ranked for name in note.objects)
        ),
        split=max((n.split for n in notes if n.split), key=UNSEEN_LAST.index, default=""),
        source=next((note.source for note in [*ranked, *notes] if note.source), ""),
        licence=" AND ".join(licences),
    )


def boundaries(notes: Sequence[Note]) -> list[float]:
    """Where to cut a file, in seconds, so that all through each clip the same actions go on.

    These are the times at which a label or a caption begins or ends, but for those where another
    note goes on with the same; the beginning of the file is none.
    """
    timed = [note for note in notes if _timed(note) and (note.label or note.caption)]
    times = sorted({time for note in timed for time in _span(note)} - {float("inf")})
    active = [
        {(n.label, n.caption) for n in timed if _span(n)[0] <= time < _span(n)[1]} for time in times
    ]
    changes = [after for after, (a, b) in zip(times[1:], pairwise(active), strict=True) if a != b]
    return [time for time in times[:1] if time > 0] + changes


def _timed(note: Note) -> bool:
    return note.start is not None or note.end is not None


def _span(note: Note) -> tuple[float, float]:
    return note.start or 0.0, float("inf") if note.end is None else note.end


def _cover(note: Note, start: float, end: float) -> float:
    """Seconds of the clip that the note covers."""
    first, last = _span(note) if _timed(note) else (start, end)
    return max(min(last, end) - max(first, start), 0.0)


# Checking


def check(
    notes: Mapping[str, Sequence[Note]], vocabulary: Iterable[str] | None = None
) -> list[str]:
    """What looks wrong with the labels, a warning each; nothing is changed.

    Args:
        notes: of each file or clip, with an empty list for one of which nothing is known.
        vocabulary: the labels that there should be; None where any may be.

    Returns:
        Warnings of files without a label or a caption where others have one, labels and objects
        that look like slips for others, labels not in the vocabulary, and labels too rare to be in
        all of train, validation and test.
    """
    warnings = []
    for what in ("label", "caption"):
        without = [name for name, own in notes.items() if not any(getattr(n, what) for n in own)]
        if 0 < len(without) < len(notes):
            warnings.append(
                f"{len(without)} of {len(notes)} files have no {what}: {', '.join(without[:3])}"
                + (" ..." if without[3:] else "")
            )
    every = [note for own in notes.values() for note in own]
    labels = Counter(note.label for note in every if note.label)
    objects = Counter(name for note in every for name in note.objects)
    warnings += _slips("label", labels) + _slips("object", objects)
    known = sorted(set(vocabulary or ()))
    if known:
        strange = [
            f"label {label!r} ({labels[label]}) is not in the vocabulary"
            + (f"; the nearest there is {close!r}" if (close := _closest(label, known)) else "")
            for label in sorted(labels.keys() - set(known))
        ]
        warnings += _first(strange, "labels not in the vocabulary")
    rare = [
        f"label {label!r} has {count} clip{'s' * (count > 1)}; "
        f"with fewer than {RARE} it cannot be in train, validation and test"
        for label, count in sorted(labels.items())
        if count < RARE
    ]
    return warnings + _first(rare, "labels too rare to be in all splits")


def _slips(what: str, counts: Counter[str]) -> list[str]:
    """Names that are another's in other letters, or nearly one that is far more frequent."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        alike[_letters(name)].append(name)
    found = {
        name: f"{what} {name!r} ({counts[name]}) is {first!r} ({counts[first]}) in other spelling"
        for first, *others in alike.values()
        for name in others
    }
    for rare in sorted(counts.keys() - found.keys()):
        near = [
            (-counts[common], common)
            for common in counts.keys() - found.keys()
            if counts[common] >= FAR_MORE * counts[rare] and _near(_letters(rare), _letters(common))
        ]
        if near:
            common = min(near)[1]
            found[rare] = (
                f"{what} {rare!r} ({counts[rare]}) may be a slip for {common!r} ({counts[common]})"
            )
    return _first([found[name] for name in sorted(found)], f"{what}s that may be slips")


def _first(warnings: list[str], what: str) -> list[str]:
    more = len(warnings) - SHOWN
    return warnings if more <= 0 else [*warnings[:SHOWN], f"and {more} more {what}"]


def _letters(name: str) -> str:
    """A name without case, spaces, hyphens, underscores and the s of a plural."""
    words = re.findall(r"[^\W_]+", name.casefold())
    return "".join(w[:-1] if len(w) > 3 and w[-1] == "s" and w[-2] != "s" else w for w in words)


def _closest(name: str, known: Sequence[str]) -> str:
    same = (other for other in known if _letters(other) == _letters(name))
    return next(same, "") or nearest(name, known)


def _near(first: str, second: str) -> bool:
    """Whether one is the other but for a letter or, in a long word, two; numbers must agree."""
    allowed = max(len(first), len(second)) // 4
    if re.findall(r"\d+", first) != re.findall(r"\d+", second):
        return False
    return 0 < _edits(first, second, min(allowed, 2)) <= min(allowed, 2)


def _edits(first: str, second: str, most: int) -> int:
    """Letters put in, left out, changed or swapped with their neighbour (optimal string alignment),
    or more than `most`."""
    if abs(len(first) - len(second)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        earlier, before = before, row
        row = [i]
        for j, b in enumerate(second, 1):
            least = min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and b == first[i - 2]:
                least = min(least, earlier[j - 2] + 1)
            row.append(least)
    return row[-1]
