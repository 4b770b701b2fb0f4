"""Damages real files at random and reads them as `muybridge prepare` does.

    python benchmarks/mutations.py [--count 500] [--seed 0]

Needs ../shared. Each file is one of the small real ones with one to three kinds of damage. It must
come out with one fate: clips, or a reason; its parts must touch one another. Printed are the fates
by the words of their reasons, the children that crashed or ran out of time or memory and cost one
file only, exceptions of our own code (there should be none), the longest time of a file against its
deadline, and the most memory that a child took.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import SHARED, report

from muybridge.core import files
from muybridge.data import engine, reading
from muybridge.data.prepare import Config

# H.264, HEVC, AV1, MPEG-4 and H.263 in MP4, QuickTime, Matroska and AVI.
SOURCES = (
    "arm_wrestling.mp4", "asl_bird.mkv", "asl_help.mkv", "asl_walk.mkv", "av1.mkv", "bikes.mp4",
    "carphone.mp4", "carphone_distorted.mp4", "cockatoo.mp4", "corrupted.mp4", "h265.mp4",
    "pancake.mkv", "rotated_90.mov", "test.avi", "unordered.mov",
)  # fmt: skip
# Names of header fields: numbers follow them.
TAGS = (
    b"mvhd", b"tkhd", b"mdhd", b"elst", b"stsd", b"stts", b"ctts", b"stss", b"stsc", b"stsz",
    b"stco", b"avcC", b"hvcC", b"avc1", b"moov", b"mdat", b"ftyp", b"avih", b"strh", b"strf",
    b"idx1", b"movi", b"V_MPEG", b"V_AV1", b"matroska", b"Lavf",
)  # fmt: skip
ABSURD = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Bytes = bytearray
Chance = np.random.Generator


def block(chance: Chance, content: Bytes, longest: int = 4096) -> tuple[int, int]:
    """Where a random block begins and ends."""
    length = int(chance.integers(1, max(2, min(longest, len(content) // 4))))
    start = int(chance.integers(0, max(1, len(content) - length)))
    return start, start + length


def truncated(chance: Chance, content: Bytes) -> None:
    """It ends too early."""
    del content[int(chance.integers(0, len(content))) :]


def beheaded(chance: Chance, content: Bytes) -> None:
    """Its beginning is gone."""
    del content[: int(chance.integers(1, 4096))]


def flipped(chance: Chance, content: Bytes) -> None:
    """Single bits are wrong, one in a hundred bytes to one in all."""
    for place in chance.integers(0, len(content), int(len(content) ** chance.random() / 10) + 1):
        content[place] ^= 1 << int(chance.integers(8))


def zeroed(chance: Chance, content: Bytes) -> None:
    """A block was never written."""
    start, end = block(chance, content, 65536)
    content[start:end] = bytes(end - start)


def scrambled(chance: Chance, content: Bytes) -> None:
    """A block is of another file."""
    start, end = block(chance, content)
    content[start:end] = chance.bytes(end - start)


def removed(chance: Chance, content: Bytes) -> None:
    """A block is missing, so that all after it is in another place."""
    start, end = block(chance, content)
    del content[start:end]


def duplicated(chance: Chance, content: Bytes) -> None:
    """A block is there twice."""
    start, end = block(chance, content)
    content[end:end] = content[start:end]


def swapped(chance: Chance, content: Bytes) -> None:
    """Two blocks are in each other's place."""
    (a, b), (c, d) = sorted((block(chance, content), block(chance, content)))
    if b <= c:
        content[a:d] = content[c:d] + content[b:c] + content[a:b]


def absurd(chance: Chance, content: Bytes) -> None:
    """A number in a header cannot be true."""
    places = [place for tag in TAGS if (place := content.find(tag)) >= 0]
    place = int(chance.choice(places)) if places and chance.random() < 0.8 else 0
    place = min(len(content) - 1, place + int(chance.integers(0, 120)))
    size = int(chance.choice([1, 2, 4, 8]))
    value = int(chance.choice(ABSURD)) % 256**size
    content[place : place + size] = value.to_bytes(size, "big")


WAYS: tuple[Callable[[Chance, Bytes], None], ...] = (
    truncated, beheaded, flipped, zeroed, scrambled, removed, duplicated, swapped, absurd, absurd,
)  # fmt: skip


def damaged(content: bytes, seed: Sequence[int]) -> tuple[bytes, str]:
    """The content with one to three kinds of damage, and their names."""
    chance, made = np.random.default_rng(seed), bytearray(content)
    names = []
    for _ in range(int(chance.integers(1, 4))):
        way = WAYS[int(chance.integers(len(WAYS)))]
        if len(made) > 16:
            way(chance, made)
            names.append(way.__name__)
    return bytes(made), ", ".join(names)


def touching(item: dict[str, Any]) -> bool:
    """Whether the parts of a file cover it without a hole, and each clip is one of them."""
    edges = [0.0, *(part["end"] for part in item["parts"])]
    kept = [part["clip"] for part in item["parts"] if part["clip"] is not None]
    return (
        [part["start"] for part in item["parts"]] == edges[:-1]
        and all(part["end"] > part["start"] for part in item["parts"])
        and kept == list(range(len(item["clips"])))
        and (not item["parts"] or item["facts"]["seconds"] == edges[-1])
    )


def word_of(item: dict[str, Any]) -> str:
    """The fate of a file: "kept", or the first words of its reason."""
    if not item["reason"]:
        return "kept"
    word: str = item["reason"].partition(":")[0]
    if word == "crashed":
        child = "process ended" in item["reason"] or "signal" in item["reason"]
        return "crashed: the child" if child else "crashed: an exception of ours"
    return word


def read_all(
    sources: Sequence[Path], count: int, seed: int, folder: Path, config: Config | None = None
) -> Iterator[dict[str, Any]]:
    """Damages and reads `count` files one after the other.

    Gives of each: name, ways, fate, reason, seconds, deadline, touching.
    """
    config = config or Config()
    stage = engine.Stage(
        "muybridge.data.reading:read", config.reading, reading.VERSION, config.deadline, 2.0,
        config.memory, folder / "items",
    )  # fmt: skip
    contents = {path: path.read_bytes() for path in sources}
    made: list[tuple[dict[str, Any], str]] = []

    def records() -> Iterator[dict[str, Any]]:
        for number in range(count):
            source = sources[number % len(sources)]
            content, ways = damaged(contents[source], (seed, number))
            path = folder / f"{number:04d} {source.name}"
            path.write_bytes(content)
            record = {"path": str(path), "name": path.name, "digest": files.digest(path)}
            made.append(({**record, "bytes": len(content)}, ways))
            yield made[-1][0]

    begun = time.monotonic()
    for number, (item,) in enumerate(engine.run(stage, records(), workers=1)):
        record, ways = made[number]
        seconds, begun = time.monotonic() - begun, time.monotonic()
        yield {
            "name": record["name"], "ways": ways, "fate": word_of(item), "reason": item["reason"],
            "seconds": seconds, "deadline": stage.seconds(record),
            "touching": touching(item) if "parts" in item else None,
        }  # fmt: skip
        Path(record["path"]).unlink()
        files.remove(stage.store / item["key"])


def main() -> None:
    """Prints how many files came to which end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sources = [SHARED / "footage/real" / name for name in SOURCES]
    with tempfile.TemporaryDirectory() as folder:
        found = list(read_all(sources, args.count, args.seed, Path(folder)))
    fates = Counter(row["fate"] for row in found)
    rows = [
        {
            "fate": fate,
            "files": count,
            "median s": float(np.median([r["seconds"] for r in found if r["fate"] == fate])),
            "longest s": max(row["seconds"] for row in found if row["fate"] == fate),
        }
        for fate, count in fates.most_common()
    ]
    slowest = max(found, key=lambda row: row["seconds"] / row["deadline"])
    survived = ("crashed: the child", "took too long", "out of memory")
    report(
        "mutations", rows, files=len(found), seed=args.seed,
        survived={word: fates[word] for word in survived},
        exceptions=[row for row in found if row["fate"] == "crashed: an exception of ours"],
        not_touching=[row for row in found if row["touching"] is False],
        slowest=slowest, of_its_deadline=slowest["seconds"] / slowest["deadline"],
        child_peak_mib=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    )  # fmt: skip


if __name__ == "__main__":
    main()
