"""Preparing footage against FFmpeg alone: decode, scale, encode of the same files.

    python benchmarks/prepare.py [--footage FOLDER] [--rounds 3] [--size 64] [--copies 6]

Both use as many processes as there are cores, each a thread, and the same settings of x264. FFmpeg
alone is called through PyAV: every frame decoded, scaled to cover the size, cropped by nothing,
and encoded at its own rate. Preparing does all else besides: digests, damage, figures, shots,
timing, copies, splits, the catalogue, the overview. Rounds alternate; ratios are of one round.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import SHARED, report

from muybridge.core import device
from muybridge.data import collect

ALONE = """
import sys, av
from av.video.reformatter import VideoReformatter
size, *paths = sys.argv[1:]
frames = 0
for path in paths:
    try:
        source = av.open(path)
        stream = source.streams.video[0]
    except (av.error.FFmpegError, IndexError):
        continue
    stream.thread_type = "NONE"
    scaler = VideoReformatter()
    with av.open("/dev/null", "w", format="null") as sink:
        out = sink.add_stream("libx264", rate=stream.average_rate or 25)
        out.codec_context.thread_count = 1
        out.options = {"crf": "12", "preset": "veryfast", "bf": "0", "x264-params": "mbtree=0",
                       "g": "12", "flags": "+cgop", "tune": "fastdecode"}
        try:
            for frame in source.decode(stream):
                scale = int(size) / min(frame.width, frame.height)
                width, height = (round(n * scale / 2) * 2 for n in (frame.width, frame.height))
                if not out.codec_context.is_open:
                    out.width, out.height, out.pix_fmt = width, height, "yuv420p"
                small = scaler.reformat(frame, width, height, "yuv420p", interpolation="AREA",
                                        threads=1)
                small.pts = None
                sink.mux(out.encode(small))
                frames += 1
            sink.mux(out.encode())
        except av.error.FFmpegError:
            pass
    source.close()
print(frames)
"""


def alone(paths: list[Path], size: int) -> tuple[float, int]:
    """Seconds and frames of FFmpeg's part, the files dealt to one process a core."""
    cores = device.cores()
    ordered = sorted(paths, key=lambda path: -path.stat().st_size)

    def one(share: list[Path]) -> int:
        command = [sys.executable, "-c", ALONE, str(size), *map(str, share)]
        return int(subprocess.run(command, check=True, capture_output=True).stdout)

    begun = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        frames = sum(pool.map(one, [ordered[i::cores] for i in range(cores)]))
    return time.perf_counter() - begun, frames


def ours(footage: Path, size: int) -> float:
    """Seconds of the whole command, from the start of the process."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        command = [sys.executable, "-m", "muybridge", "prepare", str(footage), "--out"]
        settings = ["--set", f"prepare.size=[{size}, {size}]"]
        subprocess.run([*command, f"{folder}/dataset", *settings], check=True, capture_output=True)
        return time.perf_counter() - begun


def main() -> None:
    """Rounds of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--footage", type=Path, default=SHARED / "footage/real")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--copies", type=int, default=6)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(args, copies(args.footage, Path(folder) / "footage", args.copies))


def copies(footage: Path, folder: Path, count: int) -> Path:
    """The footage several times over, so that starting up counts for little: no two files are of
    the same bytes, or they would be read once."""
    for path in collect.scan(footage):
        for number in range(count):
            copy = folder / f"{path.stem}-{number}{path.suffix}"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes() + bytes(8 * number))
    return folder


def measure(args: argparse.Namespace, footage: Path) -> None:
    """Alternates the two."""
    paths = collect.scan(footage)
    rows = []
    for number in range(args.rounds):
        theirs, frames = alone(paths, args.size)
        mine = ours(footage, args.size)
        rows.append({
            "round": number + 1, "FFmpeg alone, frames/s": round(frames / theirs),
            "prepare, frames/s": round(frames / mine), "ratio": round(theirs / mine, 3),
        })  # fmt: skip
    ratio = statistics.median(row["ratio"] for row in rows)
    report("prepare", rows, files=len(paths), size=args.size, median_ratio=ratio, goal=0.5)


if __name__ == "__main__":
    main()
