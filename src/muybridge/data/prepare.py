"""Footage in, dataset out: find, read in guarded stages, group copies, label, split, store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import decoding, files, progress
from ..core.config import NotNegative, Positive
from ..core.errors import DataError
from . import collect, duplicates, engine, labels, overview, reading, splits, store
from .caption import Config as CaptionConfig
from .caption import ObjectsConfig, describe
from .store import Clip, Dataset

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Config", "Survey", "dry_run", "prepare"]


class Config(reading.Config):
    """How footage becomes a dataset."""

    ratios: tuple[Positive, NotNegative, NotNegative] = (0.8, 0.1, 0.1)
    """Shares of train, validation and test."""
    seed: int = 0
    """Of the split."""
    vocabulary: tuple[str, ...] = ()
    """The labels there should be; others are warned of."""
    caption: CaptionConfig = CaptionConfig()
    """Captions by a pretrained model, for clips that have none."""
    objects: ObjectsConfig = ObjectsConfig()
    """Names of objects by a pretrained model, for clips that have none."""
    deadline: Positive = 60.0
    """Seconds that reading one file may take, and two more for each MiB of it."""
    memory: Positive = 4.0
    """GiB of memory that reading one file may take."""

    @property
    def reading(self) -> dict[str, Any]:
        """The settings that a file's clips depend on."""
        kept = reading.Config.model_fields
        return {n: v for n, v in self.model_dump(mode="json").items() if n in kept}


@dataclass(frozen=True)
class Survey:
    """All files, read.

    Attributes:
        work: the folder they were read into.
        items: what reading each file gave, see `reading.read`.
        folders: where its clips lie.
        notes: what is known of it.
    """

    work: Path
    items: list[dict[str, Any]]
    folders: list[Path]
    notes: list[list[labels.Note]]

    @property
    def clips(self) -> list[tuple[int, int]]:
        """(file, clip of it), in order."""
        return [(i, n) for i, item in enumerate(self.items) for n in range(len(item["clips"]))]


def prepare(
    footage: str | Path,
    out: str | Path,
    labels_file: str | Path | None = None,
    config: Config | None = None,
    engine: str = "local",
) -> Dataset:
    """Makes a dataset of a folder of footage. A call that was cut off goes on where it was.

    Args:
        footage: folder, searched through all its subfolders.
        out: the dataset's folder. It appears when it is whole; until then, and after a call that
            was cut off, what is done lies in `out.unfinished`. An older dataset there is replaced,
            what it shares with the new one is not done again, and its footage stays in its split.
        labels_file: labels of a form that `label_files` reads; without it, those lying in `footage`
            are used, else the names of folders.
        config: see `Config`.
        engine: "local", or "ray" for Ray Data.

    Raises:
        DataError: no video, no clip that can be used, or too few independent pieces to split.
        MuybridgeError: `out` holds something else, or the disk is full.
    """
    config, footage, out = config or Config(), Path(footage), Path(out)
    _check_out(out, footage)
    files.sweep(out.parent, out.name)
    with files.locked(_work(out), "dataset"):
        survey = _survey(footage, out, labels_file, config, engine)
        _store(survey, footage, out, config)
        (survey.work / ".lock").unlink(missing_ok=True)
        collect.put(survey.work, out)
    return Dataset.open(out)


def dry_run(
    footage: str | Path,
    out: str | Path,
    labels_file: str | Path | None = None,
    config: Config | None = None,
    engine: str = "local",
) -> tuple[Path, dict[str, Any]]:
    """Reads the footage as `prepare` would and says what would become of it; makes no dataset.

    Returns:
        The folder of the overview, and the overview. A later `prepare` goes on from there.
    """
    config, footage, out = config or Config(), Path(footage), Path(out)
    _check_out(out, footage)
    with files.locked(_work(out), "dataset"):
        survey = _survey(footage, out, labels_file, config, engine)
        found = overview.write(survey.work, survey.items, survey.folders, None, config.reading)
    return survey.work, found


def _work(out: Path) -> Path:
    return out.with_name(out.name + ".unfinished")


def _check_out(out: Path, footage: Path) -> None:
    ours = not out.exists() or (out / "dataset.json").is_file()
    if not ours and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"--out {out} exists and is not a dataset", "give a new folder")
    if out.resolve() == footage.resolve() or out.resolve() in footage.resolve().parents:
        raise DataError(f"--out {out} would replace the footage itself", "give a new folder")


def _survey(
    footage: Path, out: Path, labels_file: str | Path | None, config: Config, how: str
) -> Survey:
    """Finds and reads all files."""
    work = _work(out)
    files.remove(work / "pictures")  # of an earlier look, which may have been at other footage
    found = collect.scan(footage, (out, work))
    names = [collect.readable(path, footage) for path in found]
    known = labels.gather(found, footage, Path(labels_file) if labels_file else None)
    notes = [_fitted(known[p.relative_to(footage).as_posix()], p) for p in found]
    for warning in labels.check(dict(zip(names, notes, strict=True)), config.vocabulary or None):
        progress.say(f"labels: {warning}")
    stage = engine.Stage(
        "muybridge.data.reading:read", config.reading, reading.VERSION, config.deadline, 2.0,
        config.memory, work / "items",
    )  # fmt: skip
    records = collect.records(found, names, [labels.boundaries(own) for own in notes])
    able = [record for record in records if not record.get("reason")]
    keys = [stage.key(record) for record in able]
    collect.take_over(out / "items", stage.store, keys)
    done = engine.run(stage, able, how)
    results = iter(progress.track(done, "read", len(able)))
    items = []
    for record in records:
        result = {"name": record["name"], **record} if record.get("reason") else next(results)[0]
        items.append(_whole(result, record))
    return Survey(work, items, [stage.store / item.get("key", "-") for item in items], notes)


def _fitted(notes: list[labels.Note], path: Path) -> list[labels.Note]:
    """Leaves out times that are of a longer video, which this file was cut from."""
    if all(note.start is None and note.end is None for note in notes):
        return notes
    try:
        seconds = decoding.probe(path).seconds
    except (DataError, OSError):
        return notes  # reading it will say why
    return labels.fitted(notes, seconds) if seconds else notes


def _whole(result: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """A file's record with all that `reading.read` gives, also where reading it failed."""
    empty: dict[str, Any] = {"facts": {}, "figures": {}, "parts": [], "clips": [], "reason": ""}
    return empty | result | {"name": record["name"], "digest": record["digest"]}


def _store(survey: Survey, footage: Path, out: Path, config: Config) -> None:
    """Groups, labels, splits, and writes the dataset into the folder of work."""
    pairs_of = survey.clips
    if not pairs_of:
        _refuse(survey, footage)
    signatures = []
    kinds = []
    for i, n in pairs_of:
        with np.load(survey.folders[i] / "arrays.npz", allow_pickle=False) as arrays:
            signatures.append(arrays[f"signature_{n}"])
            kinds.append(arrays[f"kinds_{n}"].tobytes())
    described = _describe(survey, pairs_of, config)
    digests = [survey.items[i]["digest"] for i, _ in pairs_of]
    alike = duplicates.pairs(signatures)
    groups = duplicates.groups(
        signatures, digests, [note.source for note in described], found=alike
    )
    sides = splits.split(
        digests, groups, [[n for n in (note.label, *note.objects) if n] for note in described],
        [note.split for note in described], config.ratios, config.seed, _before(out),
    )  # fmt: skip
    splits.check(groups, sides)
    clips = [
        (_clip(survey.items[i], n, side, group, note, kind), survey.folders[i])
        for (i, n), side, group, note, kind in zip(
            pairs_of, sides, groups, described, kinds, strict=True
        )
    ]
    table = catalogue(survey, [clip for clip, _ in clips])
    with files.disk_errors(survey.work):
        table.to_parquet(survey.work / "catalogue.parquet")
    rows = table[table["kind"] == "clip"].reset_index(drop=True)
    found = [(pair.first, pair.second, pair.how) for pair in alike]
    overview.write(survey.work, survey.items, survey.folders, rows, config.reading, found)
    kept = {folder.name for folder in survey.folders}
    for folder in (survey.work / "items").iterdir():
        if folder.name not in kept:
            files.remove(folder)
    store.write(
        survey.work,
        [
            (clip, folder / survey.items[i]["clips"][n]["video"])
            for (clip, folder), (i, n) in zip(clips, pairs_of, strict=True)
        ],
        _facts(survey, [clip for clip, _ in clips], footage, config),
    )


def _refuse(survey: Survey, footage: Path) -> None:
    items = survey.items
    reasons = Counter(item["reason"].partition(":")[0] for item in items).most_common(3)
    raise DataError(
        f"none of the {len(items)} videos in {footage} can be used: "
        + "; ".join(f"{reason} ({count})" for reason, count in reasons)
        + f". The first, {items[0]['name']}: {items[0]['reason']}",
        "change the limits, as with --set prepare.min_seconds=0.5; --dry-run shows them all",
    )


def _describe(
    survey: Survey, pairs_of: Sequence[tuple[int, int]], config: Config
) -> list[labels.Note]:
    """What is known of each clip: told, or else by models where they are asked for."""
    described = []
    for i, n in pairs_of:
        clip = survey.items[i]["clips"][n]
        described.append(labels.of_clip(survey.notes[i], clip["start"], clip["end"]))
    if config.caption.model or config.objects.model:
        videos = [survey.folders[i] / survey.items[i]["clips"][n]["video"] for i, n in pairs_of]
        return describe(videos, described, config.caption, config.objects)
    return described


def _before(out: Path) -> dict[str, str] | None:
    """The split of each file in the dataset that is replaced, by the file's digest."""
    if not (out / "dataset.json").is_file() or not (out / "catalogue.parquet").is_file():
        return None
    import pandas as pd

    table = pd.read_parquet(out / "catalogue.parquet")
    if not {"digest", "split"} <= set(table.columns):
        return None
    told = table[table["split"].isin(splits.NAMES)]
    return dict(zip(told["digest"], told["split"], strict=True))


def _clip(
    item: dict[str, Any], number: int, side: str, group: int, note: labels.Note, kinds: bytes
) -> Clip:
    clip = item["clips"][number]
    several = len(item["clips"]) > 1
    return Clip(
        name=f"{item['name']}#{number}" if several else item["name"],
        file=f"{side}/{collect.systematic(item['name'], number)}",
        split=side, group=group, frames=clip["frames"], height=clip["height"],
        width=clip["width"], label=note.label, caption=note.caption, objects=note.objects,
        source=note.source, licence=note.licence, original=item["name"], start=clip["start"],
        end=clip["end"], kinds=kinds, content=clip["content"],
    )  # fmt: skip


def _facts(survey: Survey, clips: Sequence[Clip], footage: Path, config: Config) -> dict[str, Any]:
    """What `dataset.json` says."""
    stored = [survey.items[i]["clips"][n] for i, n in survey.clips]
    train = [s for s, clip in zip(stored, clips, strict=True) if clip.split == "train"]
    weights = [one["frames"] for one in train]
    mean = np.average([one["mean"] for one in train], axis=0, weights=weights)
    square = np.average([one["square"] for one in train], axis=0, weights=weights)
    sides = Counter(clip.split for clip in clips)
    aside = Counter(i["reason"].partition(":")[0] for i in survey.items if i["reason"])
    invented = Counter[str]()
    for one in stored:
        invented.update(one["kinds"])
    return {
        "fps": config.fps,
        "size": list(config.sizes[0]),
        "sizes": sorted({(clip.height, clip.width) for clip in clips}),
        "labels": sorted({clip.label for clip in clips} - {""}),
        "objects": sorted({name for clip in clips for name in clip.objects}),
        "captioned": sum(bool(clip.caption) for clip in clips),
        "mean": mean.tolist(),
        "std": np.sqrt(np.maximum(square - mean**2, 1e-8)).tolist(),
        "clips": {name: sides[name] for name in splits.NAMES},
        "seconds": {
            name: sum(clip.frames for clip in clips if clip.split == name) / config.fps
            for name in splits.NAMES
        },
        "groups": len({clip.group for clip in clips}),
        "kinds": dict(invented),
        "footage": str(footage.resolve()),
        "files": len(survey.items),
        "set_aside": dict(aside),
        "sound_dropped": sum(bool(i["facts"].get("sound")) for i in survey.items if i["clips"]),
        "digest": files.digest_of(
            [{"split": clip.split, **store.record(clip, config.fps)} for clip in clips]
        ),
        "prepare": config.model_dump(mode="json"),
    }


def catalogue(survey: Survey, clips: Sequence[Clip]) -> pd.DataFrame:
    """One row a file and one a clip of it: facts, fate, reason, figures."""
    import pandas as pd

    shown = ("width", "height", "fps", "codec", "pixels", "sound", "container", "bytes")
    ours = iter(clips)
    rows = []
    for item in survey.items:
        facts = {name: item["facts"].get(name) for name in shown}
        about = {"file": item["name"], "digest": item["digest"], **facts}
        seconds = item["facts"].get("seconds")
        rows.append({
            "kind": "file", **about, "seconds": seconds, "start": 0.0, "end": seconds,
            "fate": "kept" if item["clips"] else "set aside", "reason": item["reason"],
            **item["figures"],
        })  # fmt: skip
        for part in item["parts"]:
            common = {
                **about, "start": part["start"], "end": part["end"], "fate": part["fate"],
                "seconds": part["end"] - part["start"], "reason": part["reason"],
                **part["figures"],
            }  # fmt: skip
            if part["clip"] is None:
                rows.append({"kind": "part", **common})
                continue
            clip = next(ours)
            told = ("split", "group", "label", "caption", "source", "licence", "content")
            rows.append({
                "kind": "clip", "clip": clip.name, **common, "objects": list(clip.objects),
                "start": clip.start, "end": clip.end, "width": clip.width, "height": clip.height,
                **{name: getattr(clip, name) for name in told},
            })  # fmt: skip
    return pd.DataFrame(rows)
