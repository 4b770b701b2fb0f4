"""Footage in, dataset out: probe, decode by time, resize, group, split, measure, store."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core import files, progress, video
from ..core.config import Count, NotNegative, Positive, Section
from ..core.device import cores
from ..core.errors import DataError
from . import duplicates, labels, splits
from .store import FORMAT, Dataset


class Config(Section):
    """How footage becomes a dataset."""

    size: tuple[Count, Count] = (64, 64)
    """Stored height and width in pixels, `data.size` where not set; pictures are scaled to cover it
    and their centre is kept."""
    fps: Positive = 24.0
    """Stored frames per second, by presentation time."""
    min_seconds: NotNegative = 1.9
    """Shorter clips are set aside."""
    min_height: int = 32
    """Footage with a picture smaller than this on its shorter side is set aside."""
    ratios: tuple[Positive, Positive, Positive] = (0.8, 0.1, 0.1)
    """Shares of train, validation and test."""
    seed: int = 0
    """Of the split."""


@dataclass
class _Item:
    """One file on its way; `reason` says why it is set aside."""

    path: Path
    name: str
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    frames: video.Frames | None = None
    signature: duplicates.Signature | None = None
    moments: tuple[Any, Any] | None = None


def prepare(
    footage: str | Path,
    out: str | Path,
    labels_file: str | Path | None = None,
    config: Config | None = None,
) -> Dataset:
    """Makes a dataset of a folder of clips.

    Args:
        footage: folder, searched through all its subfolders.
        out: the dataset's folder, made anew; it appears when it is whole.
        labels_file: CSV or JSONL of captions and labels; without it, one lying in `footage` is
            used, else the names of class folders.
        config: see `Config`.

    Raises:
        DataError: no video, no clip that can be used, or too few independent pieces to split.
        MuybridgeError: `out` holds something else, or the disk is full.
    """
    config = config or Config()
    footage, out = Path(footage), Path(out)
    found = scan(footage)
    notes = _notes(footage, found, Path(labels_file) if labels_file else None)
    _check_out(out, footage)
    files.sweep(out.parent, out.name)
    with files.atomic(out) as folder:
        folder.mkdir()
        items = _store_frames(found, footage, config, folder / "frames.u8")
        _index(items, notes, config, footage, folder)
    return Dataset.open(out)


def scan(footage: Path) -> list[Path]:
    """Video files under a folder, sorted.

    Raises:
        DataError: the folder is absent or holds no video.
    """
    if not footage.is_dir():
        raise DataError(
            f"footage {str(footage)!r} is not a folder", "give the folder that holds the videos"
        )
    found = sorted(
        p for p in footage.rglob("*") if p.suffix.lower() in video.SUFFIXES and p.is_file()
    )
    if not found:
        others = Counter(p.suffix.lower() or "no suffix" for p in footage.rglob("*") if p.is_file())
        seen = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(4))
        raise DataError(
            f"{footage} holds no video ({seen or 'it is empty'})",
            f"videos are files named {' '.join(sorted(video.SUFFIXES)[:8])} ...; "
            "for footage to try things on: muybridge stage --out footage --count 400",
        )
    return found


def _notes(footage: Path, found: list[Path], given: Path | None) -> dict[str, labels.Note]:
    source = given or labels.find(footage)
    if source is None:
        return labels.of_folders(found, footage)
    notes = labels.read(source)
    names = {path.relative_to(footage).as_posix() for path in found}
    if not names & notes.keys():
        raise DataError(
            f"{source} names none of the {len(names)} videos in {footage}: it says "
            f"{next(iter(notes))!r}, the folder has {min(names)!r}",
            "file names are relative to the footage folder",
        )
    absent = len(notes.keys() - names)
    progress.say(
        f"labels: {source}" + (f" ({absent} of its rows name no video here)" if absent else "")
    )
    return notes


def _check_out(out: Path, footage: Path) -> None:
    ours = not out.exists() or (out / "dataset.json").is_file()
    if not ours and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"--out {out} exists and is not a dataset", "give a new folder")
    if out.resolve() == footage.resolve() or out.resolve() in footage.resolve().parents:
        raise DataError(f"--out {out} would replace the footage itself", "give a new folder")


def _store_frames(found: list[Path], footage: Path, config: Config, target: Path) -> list[_Item]:
    """Decodes on all cores and appends the kept clips' frames to `target`, in order of name."""
    items = []
    with target.open("wb") as stream, ThreadPoolExecutor(cores()) as pool:
        work = _ahead(pool, found, footage, config)
        for item in progress.track(work, "decode", len(found)):
            if item.frames is not None:
                with files.disk_errors(target):
                    stream.write(item.frames.data)
                item.facts["frames"] = len(item.frames)
                item.frames = None
            items.append(item)
    return items


def _ahead(
    pool: ThreadPoolExecutor, found: list[Path], footage: Path, config: Config
) -> Iterator[_Item]:
    """Maps in order, few files ahead: memory grows with the cores, not with the folder."""
    pending = []
    for path in found:
        name = path.relative_to(footage).as_posix()
        pending.append(pool.submit(_read, path, name, config))
        if len(pending) > 2 * cores():
            yield pending.pop(0).result()
    for future in pending:
        yield future.result()


def _read(path: Path, name: str, config: Config) -> _Item:
    item = _Item(path, name)
    try:
        item.facts = vars(video.probe(path))
        _judge_probe(item, config)
        if not item.reason:
            item.digest = files.digest(path)
            frames = [fit(p, config.size) for _, p in video.at_rate(video.decode(path), config.fps)]
            _judge_frames(item, np.stack(frames) if frames else None, config)
    except DataError as error:
        item.reason = error.message
    except Exception as error:  # one file's trouble, whatever it is, must not end the others' work
        item.reason = f"{type(error).__name__}: {error}"
    return item


def _judge_probe(item: _Item, config: Config) -> None:
    shorter = min(item.facts["width"], item.facts["height"])
    if shorter < config.min_height:
        item.reason = (
            f"picture too small: {shorter} pixels, prepare.min_height = {config.min_height}"
        )


def _judge_frames(item: _Item, frames: video.Frames | None, config: Config) -> None:
    seconds = 0.0 if frames is None else len(frames) / config.fps
    item.facts["seconds"] = seconds
    if frames is None or seconds < config.min_seconds:
        item.reason = f"too short: {seconds:.2f} s, prepare.min_seconds = {config.min_seconds}"
        return
    item.signature = duplicates.signature(frames)
    first, second = np.zeros(3), np.zeros(3)
    for frame in frames:  # one at a time: a long clip as floats would not fit
        values = frame.reshape(-1, 3) / 127.5 - 1.0
        first += values.mean(0)
        second += (values**2).mean(0)
    item.moments = (first / len(frames), second / len(frames))
    item.facts["content"] = hashlib.sha256(frames.data).hexdigest()
    item.frames = frames  # last: what fails above must not be stored


def fit(picture: video.Frames, size: tuple[int, int]) -> video.Frames:
    """Scales a picture (h, w, 3) to cover `size` (height, width) and crops its centre."""
    import cv2

    height, width = picture.shape[:2]
    scale = max(size[0] / height, size[1] / width)
    # An even rest, so that as much is cropped left as right: a mirrored copy must be cropped
    # alike, or it is shifted and could pass for other footage.
    new = tuple(
        wanted + 2 * round(max(length * scale - wanted, 0) / 2)
        for length, wanted in ((width, size[1]), (height, size[0]))
    )
    if new != (width, height):
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = np.asarray(cv2.resize(picture, new, interpolation=how), np.uint8)
    top, left = (picture.shape[0] - size[0]) // 2, (picture.shape[1] - size[1]) // 2
    return picture[top : top + size[0], left : left + size[1]]


def _index(
    items: list[_Item], notes: dict[str, labels.Note], config: Config, footage: Path, folder: Path
) -> None:
    import pandas as pd

    kept = [item for item in items if not item.reason]
    if not kept:
        reasons = Counter(item.reason.partition(":")[0] for item in items).most_common(3)
        raise DataError(
            f"none of the {len(items)} videos in {footage} can be used: "
            + "; ".join(f"{reason} ({count})" for reason, count in reasons)
            + f". The first, {items[0].name}: {items[0].reason}",
            "give longer clips, or --set prepare.min_seconds=... or prepare.min_height=...",
        )
    known = [notes.get(item.name, labels.Note()) for item in kept]
    groups = duplicates.groups(
        [i.signature for i in kept if i.signature is not None], [i.digest for i in kept]
    )
    names = [item.facts["content"] for item in kept]
    sides = splits.split(
        names,
        groups,
        [n.label for n in known],
        [n.split for n in known],
        config.ratios,
        config.seed,
    )
    splits.check(groups, sides)
    rows, start = [], 0
    for item, note, group, side in zip(kept, known, groups, sides, strict=True):
        count = item.facts["frames"]
        rows.append(
            {
                "name": item.name, "split": side, "group": group, "start": start, "frames": count,
                "label": note.label, "caption": note.caption, "file_digest": item.digest,
                "content": item.facts["content"],
            }
        )  # fmt: skip
        start += count
    pd.DataFrame(rows).to_parquet(folder / "clips.parquet")
    _catalogue(items).to_parquet(folder / "catalogue.parquet")
    train = [item.moments for item, side in zip(kept, sides, strict=True) if side == "train"]
    weights = [
        item.facts["frames"] for item, side in zip(kept, sides, strict=True) if side == "train"
    ]
    mean = np.average([m[0] for m in train if m], axis=0, weights=weights)
    square = np.average([m[1] for m in train if m], axis=0, weights=weights)
    aside = Counter(item.reason.partition(":")[0] for item in items if item.reason)
    facts = {
        "format": FORMAT,
        "fps": config.fps,
        "size": list(config.size),
        "labels": sorted({note.label for note in known} - {""}),
        "captioned": sum(bool(note.caption) for note in known),
        "mean": mean.tolist(),
        "std": np.sqrt(np.maximum(square - mean**2, 1e-8)).tolist(),
        "clips": dict(Counter(sides)),
        "seconds": {
            name: sum(r["frames"] for r in rows if r["split"] == name) / config.fps
            for name in splits.NAMES
        },
        "groups": len(set(groups)),
        "footage": str(footage.resolve()),
        "files": len(items),
        "set_aside": dict(aside),
        "sound_dropped": sum(bool(item.facts.get("sound")) for item in kept),
        "digest": files.digest_of(config.model_dump(), rows),
        "prepare": config.model_dump(mode="json"),
    }
    files.write_json(folder / "dataset.json", facts)


def _catalogue(items: list[_Item]) -> Any:
    import pandas as pd

    shown = ("width", "height", "fps", "seconds", "codec", "pixels", "sound")
    rows = [
        {
            "file": item.name,
            "fate": "set aside" if item.reason else "kept",
            "reason": item.reason,
            **{name: item.facts.get(name) for name in shown},
        }
        for item in items
    ]
    return pd.DataFrame(rows)
