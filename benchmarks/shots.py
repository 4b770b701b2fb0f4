"""Shot boundaries on a made set of transitions, and of other sudden changes that are none.

    python benchmarks/shots.py [--count 50] [--seed 2]

Needs ../shared. Everything is made from real shots, in two halves of different footage. Thresholds
were set on the first half; which measures to use was decided on both, with other seeds. A cut is
found if a boundary is at its very frame, a dissolve or fade if one boundary covers it but for 3
frames at each end and reaches at most 8 beyond. Every other boundary is wrong. Two shots of one
kind of footage (signers before one wall, people on one field) are never joined: those are jumps
inside one scene.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from common import SHARED, report

from muybridge.core import video
from muybridge.data.shots import Boundary, boundaries, disorder

Frames = npt.NDArray[np.uint8]
Real = npt.NDArray[np.float32]
HEIGHT, WIDTH = 108, 192

# Source, kind of footage, first and last second of one shot of it.
TUNED = [
    ("bikes.mp4", "bikes", 0.0, 1.2), ("bikes.mp4", "bikes", 1.2, 3.04),
    ("bikes.mp4", "bikes", 3.04, 5.48), ("carphone.mp4", "carphone", 0, 4),
    ("asl_again.mkv", "asl", 0, 9), ("asl_bird.mkv", "asl", 0, 9), ("asl_book.mkv", "asl", 0, 9),
    ("bottles.mp4", "bottles", 0, 6), ("bigbuckbunny.mp4", "bunny", 0, 9),
    ("clip_001.mp4", "actions", 0, 9), ("clip_017.mp4", "actions", 0, 9),
]  # fmt: skip
HELD_OUT = [
    ("bikes.mp4", "bikes", 5.48, 7.48), ("bikes.mp4", "bikes", 7.48, 9.68),
    ("arm_wrestling.mp4", "wrestling", 0, 6.4), ("arm_wrestling.mp4", "wrestling", 7.4, 8.15),
    ("cockatoo.mp4", "cockatoo", 0, 9), ("pancake.mkv", "pancake", 0, 9),
    ("test.avi", "test", 0, 9), ("asl_school.mkv", "asl", 0, 9), ("asl_walk.mkv", "asl", 0, 9),
    ("clip_040.mp4", "actions", 0, 9), ("clip_060.mp4", "actions", 0, 9),
]  # fmt: skip


@dataclass(frozen=True)
class Shot:
    """One unbroken take."""

    kind: str
    frames: Frames
    fps: float


@dataclass(frozen=True)
class Case:
    """Made footage and the boundaries that are truly in it."""

    name: str
    frames: Frames
    fps: float
    truth: tuple[Boundary, ...] = ()


def take(name: str, kind: str, start: float, end: float) -> Shot:
    """Reads one shot."""
    folder = "clips/actions" if name.startswith("clip_") else "footage/real"
    frames, times = [], []
    for seconds, picture in video.decode(SHARED / folder / name):
        if seconds > end - 0.02:
            break
        if seconds >= start - 0.001:
            frames.append(cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
            times.append(seconds)
    return Shot(kind, np.stack(frames), (len(times) - 1) / (times[-1] - times[0]))


def pick(rng: np.random.Generator, shots: list[Shot], not_of: str = "") -> Shot:
    """Any shot, of another kind of footage than `not_of`; each kind as likely as any other."""
    kinds = sorted({shot.kind for shot in shots} - {not_of})
    kind = kinds[rng.integers(len(kinds))]
    of_kind = [shot for shot in shots if shot.kind == kind]
    return of_kind[rng.integers(len(of_kind))]


def part(rng: np.random.Generator, shot: Shot, count: int) -> Real:
    """`count` frames in a row; a short shot is played to and fro. Sometimes mirrored."""
    frames = shot.frames
    if len(frames) < count:
        there = np.concatenate([frames, frames[-2:0:-1]])
        frames = np.concatenate([there] * (count // len(there) + 1))
    begin = int(rng.integers(len(frames) - count + 1))
    frames = frames[begin : begin + count, :, :: rng.choice([-1, 1])]
    return frames.astype(np.float32)


def finished(rng: np.random.Generator, frames: Real) -> Frames:
    """With the noise of a sensor, at the size of a thumbnail."""
    noise = rng.uniform(0, 1.5)  # what is left of about 4 grey levels after scaling down
    made = np.empty((len(frames), 36, 64, 3), np.uint8)
    for index, frame in enumerate(frames):
        small = cv2.resize(np.clip(frame, 0, 255), (64, 36), interpolation=cv2.INTER_AREA)
        grain = noise * rng.standard_normal(small.shape, np.float32)
        made[index] = np.clip(small + grain + 0.5, 0, 255)
    return made


# --- transitions ---------------------------------------------------------------------------------


def cut(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """Two shots, one after the other."""
    first = pick(rng, shots)
    second = pick(rng, shots, first.kind)
    a, b = (part(rng, shot, int(rng.integers(14, 50))) for shot in (first, second))
    frames = finished(rng, np.concatenate([a, b]))
    return Case("cut", frames, first.fps, (Boundary(len(a), len(a), "cut"),))


def dissolve(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """One shot melts into another within 0.3 to 2 s."""
    first = pick(rng, shots)
    second = pick(rng, shots, first.kind)
    length = max(3, round(rng.uniform(0.3, 2) * first.fps))
    before, after = rng.integers(14, 40, 2)
    a = part(rng, first, before + length)
    b = part(rng, second, length + after)
    share = (np.arange(1, length + 1, dtype=np.float32) / (length + 1))[:, None, None, None]
    mixed = (1 - share) * a[before:] + share * b[:length]
    frames = finished(rng, np.concatenate([a[:before], mixed, b[length:]]))
    truth = Boundary(int(before), int(before) + length, "dissolve")
    return Case("dissolve", frames, first.fps, (truth,))


def fade(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """Out to black and in again, each 0.3 to 1.5 s, with up to half a second of black."""
    first = pick(rng, shots)
    second = pick(rng, shots, first.kind)
    out, back = (max(3, round(rng.uniform(0.3, 1.5) * first.fps)) for _ in range(2))
    black = int(rng.integers(0, first.fps / 2))
    a, b = part(rng, first, 20 + out), part(rng, second, back + 20)
    a[20:] *= (1 - np.arange(1, out + 1, dtype=np.float32) / (out + 1))[:, None, None, None]
    b[:back] *= (np.arange(1, back + 1, dtype=np.float32) / (back + 1))[:, None, None, None]
    frames = finished(rng, np.concatenate([a, np.zeros((black, *a.shape[1:]), np.float32), b]))
    return Case("fade", frames, first.fps, (Boundary(20, 20 + out + black + back, "dissolve"),))


# --- no transitions ------------------------------------------------------------------------------


def sweep(picture: Real, left: npt.NDArray[np.float64], width: int, shutter: float) -> Real:
    """A window `width` wide at each of `left`, smeared over `shutter` of its way to the next."""
    height = picture.shape[0]
    speed = np.gradient(left)
    frames = []
    for x, way in zip(left, speed * shutter, strict=True):
        steps = max(1, round(abs(way) / 2))
        smear = np.zeros((height, width, 3), np.float32)
        for offset in (np.arange(steps) + 0.5) / steps - 0.5:
            at = float(np.clip(x + offset * way, 0, picture.shape[1] - width - 1))
            centre = (at + (width - 1) / 2, (height - 1) / 2)
            smear += cv2.getRectSubPix(picture, (width, height), centre)
        frames.append(cv2.resize(smear / steps, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
    return np.stack(frames)


def panorama(rng: np.random.Generator, shots: list[Shot]) -> Real:
    """A picture six windows wide: frames side by side, their seams blended."""
    first = pick(rng, shots)
    tiles = [first.frames[rng.integers(len(first.frames))].astype(np.float32)]
    for _ in range(6):
        shot = first if rng.random() < 0.5 else pick(rng, shots)
        tiles.append(shot.frames[rng.integers(len(shot.frames)), :, :: rng.choice([-1, 1])])
    wide, seam = tiles[0], 24
    ramp = np.linspace(0, 1, seam, dtype=np.float32)[None, :, None]
    for tile in tiles[1:]:
        joint = (1 - ramp) * wide[:, -seam:] + ramp * tile[:, :seam]
        wide = np.concatenate([wide[:, :-seam], joint, tile[:, seam:]], 1)
    return np.asarray(wide, np.float32)


def whip(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """The camera rests, sweeps away at up to half a width a frame, rests."""
    wide = panorama(rng, shots)
    top, rise = rng.uniform(0.12, 0.5) * WIDTH, int(rng.integers(1, 5))
    ramp = np.arange(1, rise + 1) / (rise + 1)
    room = wide.shape[1] - WIDTH - 4
    hold = max(1, min(int(rng.integers(1, 9)), int(room / top - rise)))
    speed = top * np.concatenate([np.zeros(20), ramp, np.ones(hold), ramp[::-1], np.zeros(20)])
    left = np.cumsum(speed)
    left *= min(1, room / left[-1])
    if rng.random() < 0.5:
        left = left[-1] - left
    frames = sweep(wide, left, WIDTH, rng.uniform(0.3, 1))
    return Case("whip pan", finished(rng, frames), 25)


def pan(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """A steady sweep, slow to brisk, all the time."""
    wide = panorama(rng, shots)
    count, room = int(rng.integers(40, 80)), wide.shape[1] - WIDTH - 4
    speed = min(room / count, rng.uniform(0.01, 0.1) * WIDTH)
    frames = sweep(wide, 1 + speed * np.arange(count), WIDTH, 0.5)
    return Case("pan", finished(rng, frames), 25)


def zoom(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """In or out by 2 to 4 within 0.2 to 1.2 s, from a shot that goes on."""
    shot = pick(rng, shots)
    frames = part(rng, shot, 60)
    length = round(rng.uniform(0.2, 1.2) * 25)
    share = np.clip((np.arange(60) - 18) / length, 0, 1)
    share = share[::-1] if rng.random() < 0.5 else share
    for frame, scale in zip(frames, rng.uniform(2, 4) ** share, strict=True):
        size = (max(8, round(WIDTH / scale)), max(8, round(HEIGHT / scale)))
        crop = cv2.getRectSubPix(frame, size, ((WIDTH - 1) / 2, (HEIGHT - 1) / 2))
        frame[:] = cv2.resize(crop, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return Case("zoom", finished(rng, frames), shot.fps)


def flash(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """One to three flashes of a camera, each of one to four frames that die away."""
    shot = pick(rng, shots)
    frames = part(rng, shot, 60)
    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    fall = np.exp(-((x - rng.uniform(-1, 1)) ** 2 + (y - rng.uniform(-1, 1)) ** 2) / 4)
    for _ in range(rng.integers(1, 4)):
        at, power = int(rng.integers(8, 50)), rng.uniform(0.6, 3)
        for index in range(int(rng.integers(1, 5))):
            light = (power * 0.4**index * fall)[..., None].astype(np.float32)
            frames[at + index] = frames[at + index] * (1 + light) + 60 * light
    return Case("flash", finished(rng, frames), shot.fps)


def lamp(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """The light goes up, down or to another colour at once, and stays."""
    shot = pick(rng, shots)
    frames = part(rng, shot, 60)
    gain = rng.uniform(0.3, 0.7) * rng.uniform(0.8, 1.2, 3).astype(np.float32)
    at = int(rng.integers(15, 45))
    part_of = slice(at, None) if rng.random() < 0.5 else slice(None, at)
    frames[part_of] *= gain
    return Case("light", finished(rng, frames), shot.fps)


def strobe(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """A second or more of light on and off, one to three frames each."""
    shot = pick(rng, shots)
    frames = part(rng, shot, 70)
    period, dark = int(rng.integers(1, 4)), rng.uniform(0.08, 0.4)
    on = (np.arange(70) // period) % 2 == 0
    on[:15] = on[50:] = True
    frames[~on] *= dark
    return Case("strobe", finished(rng, frames), shot.fps)


def passer(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """Something textured and nearly as large as the picture passes close by in 3 to 12 frames."""
    shot = pick(rng, shots)
    frames = part(rng, shot, 60)
    other = pick(rng, shots, shot.kind)
    body = other.frames[rng.integers(len(other.frames))].astype(np.float32)
    width = int(rng.uniform(0.5, 1) * WIDTH)
    count, at = int(rng.integers(3, 13)), 20
    way = np.linspace(-width, WIDTH, count + 2)[1:-1]
    blur = max(1, int((WIDTH + width) / count / 2))
    body = cv2.blur(body[:, :width], (blur, 1))
    for index, left in enumerate(way.round().astype(int)):
        begin, end = max(0, left), min(WIDTH, left + width)
        frames[at + index][:, begin:end] = body[:, begin - left : end - left]
    return Case("passer-by", finished(rng, frames), shot.fps)


def shake(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """A camera in a running hand: jumps of up to a tenth of the picture, unlike each frame."""
    shot = pick(rng, shots)
    frames = part(rng, shot, 60)
    far = rng.normal(0, 0.05, (60, 2)) * (WIDTH, HEIGHT)
    for frame, (dx, dy) in zip(frames, far, strict=True):
        centre = ((WIDTH - 1) / 2 + dx, (HEIGHT - 1) / 2 + dy)
        crop = cv2.getRectSubPix(frame, (WIDTH * 3 // 4, HEIGHT * 3 // 4), centre)
        frame[:] = cv2.resize(crop, (WIDTH, HEIGHT))
    return Case("shake", finished(rng, frames), shot.fps)


def gap(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """A black flash of one to eight frames."""
    shot = pick(rng, shots)
    frames = part(rng, shot, 60)
    at = int(rng.integers(10, 40))
    frames[at : at + rng.integers(1, 9)] = rng.uniform(0, 10)
    return Case("black flash", finished(rng, frames), shot.fps)


def plain(rng: np.random.Generator, shots: list[Shot]) -> Case:
    """A real shot as it is, sometimes at half its rate."""
    shot = pick(rng, shots)
    frames = part(rng, shot, 120)[:: rng.integers(1, 3)]
    return Case("plain", finished(rng, frames), shot.fps)


Maker = Callable[[np.random.Generator, list[Shot]], Case]
TRANSITIONS: list[Maker] = [cut, cut, dissolve, fade]
OTHERS: list[Maker] = [whip, whip, pan, zoom, flash, lamp, strobe, passer, shake, gap, plain]


def cases(seed: int, shots: list[Shot], count: int) -> list[Case]:
    """`count` of each maker named above, once for each time it is named."""
    made = []
    for number, maker in enumerate(TRANSITIONS + OTHERS):
        for index in range(count):
            made.append(maker(np.random.default_rng([seed, number, index]), shots))
    return made


def hit(truth: Boundary, found: Boundary) -> bool:
    """Whether `found` is as near as the page's head asks for."""
    if truth.kind == "cut":
        return found.first == found.last == truth.first
    inside = found.first <= truth.first + 3 and found.last >= truth.last - 3
    return inside and found.first >= truth.first - 8 and found.last <= truth.last + 8


def judge(made: list[Case]) -> list[dict[str, object]]:
    """A row a kind of case."""
    count, truths, hits, wrong = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for case in made:
        found = boundaries(case.frames, np.arange(len(case.frames)) / case.fps)
        right = [b for b in found if any(hit(truth, b) for truth in case.truth)]
        count[case.name] += 1
        truths[case.name] += len(case.truth)
        hits[case.name] += min(len(right), len(case.truth))
        wrong[case.name] += len(found) - len(right)
    return [
        {
            "made": name,
            "cases": count[name],
            "transitions": truths[name],
            "found": hits[name],
            "wrong": wrong[name],
            "recall": hits[name] / truths[name] if truths[name] else "",
        }
        for name in count
    ]


def files() -> None:
    """Prints for every real and damaged file what is found and how long it takes."""
    print("file | frames | cuts | others | disorder | ms a frame")
    for path in sorted((SHARED / "footage").glob("*/*.*")):
        thumbs, times = read(path)
        begun = time.process_time()
        found = boundaries(thumbs, times)
        taken = 1e3 * (time.process_time() - begun) / max(1, len(thumbs))
        hard = " ".join(f"{times[b.first]:.2f}" for b in found if b.kind == "cut")
        long = " ".join(f"{b.first}-{b.last}" for b in found if b.kind != "cut")
        order = f"{disorder(thumbs):.3f} | {taken:.3f}"
        print(path.name, len(thumbs), hard, long, order, sep=" | ")


def read(path: Path) -> tuple[Frames, npt.NDArray[np.float64]]:
    """Thumbnails of a file as far as it can be decoded."""
    thumbs, times = [], []
    try:
        for seconds, picture in video.decode(path):
            thumbs.append(cv2.resize(picture, (64, 36), interpolation=cv2.INTER_AREA))
            times.append(seconds)
    except video.DataError:
        pass
    return np.array(thumbs, np.uint8).reshape(-1, 36, 64, 3), np.array(times)


def main() -> None:
    """Judges both halves, then the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=2)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    for half, sources in (("tuned", TUNED), ("held out", HELD_OUT)):
        made = cases(args.seed, [take(*source) for source in sources], args.count)
        rows += [{"sources": half} | row for row in judge(made)]
    files()
    precision = {}
    for half in ("tuned", "held out"):
        found, wrong = (sum(int(str(row[key])) for row in rows if row["sources"] == half)
                        for key in ("found", "wrong"))  # fmt: skip
        precision[half] = round(found / (found + wrong), 3)
    report("shots", rows, precision=precision)


if __name__ == "__main__":
    main()
