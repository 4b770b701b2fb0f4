"""The stage that reads one file of footage: measures it, cuts it, and writes its clips.

A file is decoded once. Its frames are judged, runs of good ones within one shot become clips, and
all of its seconds are accounted for: `parts` touch one another, and each is kept or has a reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from ..core import decoding, video
from ..core.config import Count, NotNegative, Positive
from ..core.errors import DataError
from . import duplicates, framing, quality, repair, shots, subject, timing
from .store import INTERPOLATED, REAL, REPEATED

VERSION = 1
_THUMB = (64, 36)
_SAMPLES = 2.0  # pictures a second that sharpness and noise are measured on
_CHUNK = 256 * 2**20  # bytes of pictures held at once
_STRIP, _MOMENTS, _STRIPS = 64, 6, 40
_GOP = 12
_STATIC = 0.9  # from this share of repeated frames on, nothing moves at all
_SHORTER = 0.95  # a clip may lack a frame of the least length


class Config(quality.Limits):
    """How a file of footage becomes clips."""

    size: tuple[Count, Count] = (64, 64)
    """Stored height and width in pixels, `data.size` where not set; pictures are scaled to cover
    it."""
    buckets: tuple[tuple[Count, Count], ...] = ()
    """Several sizes to store: each file gets the one whose shape is nearest to its own."""
    crop: subject.Kind = "centre"
    """What to keep in the picture where it is cropped: its centre, or, followed smoothly, what
    moves, what stands out (saliency), people or faces."""
    detector: str = ""
    """For people, the folder or hub name of an object detector (see `prepare.objects.model`); for
    faces, the ONNX file of a YuNet face detector (face_detection_yunet_2023mar.onnx)."""
    fps: Positive = 24.0
    """Stored frames per second, by presentation time."""
    slow: Literal["repeat", "interpolate"] = "repeat"
    """What fills in where footage has fewer frames per second: either way it weighs nothing in
    training."""
    min_seconds: NotNegative = 1.0
    """Shorter shots are set aside."""
    max_seconds: Positive = 10.0
    """Longer shots are cut into equal clips."""
    max_gap: NotNegative = 0.25
    """Seconds of missing, damaged, black or frozen frames that are filled in; at longer ones the
    footage is cut."""
    denoise: Literal["none", "median", "nlm"] = "none"
    """Remove noise: by the median of neighbouring frames, or by non-local means (slow)."""
    letterbox: bool = True
    """Crop black bars away."""
    quality: int = 12
    """x264's constant rate factor of the stored clips: 0 is lossless."""

    @pydantic.model_validator(mode="after")
    def _has_detector(self) -> Self:
        if self.crop in ("people", "faces") and not self.detector:
            raise ValueError(f"crop = {self.crop} needs a detector, see prepare.detector")
        return self

    @property
    def sizes(self) -> tuple[framing.Size, ...]:
        """The sizes that are stored."""
        return self.buckets or (self.size,)


@dataclass
class _Chunk:
    """A stretch of decoded footage, small enough to hold."""

    times: list[float] = field(default_factory=list)
    damaged: list[bool] = field(default_factory=list)
    pictures: list[video.Frames] = field(default_factory=list)
    thumbs: list[video.Frames] = field(default_factory=list)
    sampled: dict[int, tuple[float, ...]] = field(default_factory=dict)
    looks: dict[int, video.Frames] = field(default_factory=dict)
    end: float = 0.0

    def measured(self, places: npt.NDArray[np.int64]) -> timing.Floats:
        """What was measured of some of the frames at these places: (n, 5)."""
        return np.array([self.sampled[i] for i in places.tolist() if i in self.sampled])


def read(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Reads one file; a stage's function.

    Args:
        record: `path`, `digest`, and `boundaries`: seconds at which to cut whatever is seen.
        settings: of `Config`.
        folder: where clips, strips of what is set aside, and `arrays.npz` are written.

    Returns:
        One record: digest, facts, figures, parts, clips, and a reason where no clip is kept.
    """
    config = Config(**settings)
    path = Path(record["path"])
    reader = _Reader(config, folder, record.get("boundaries") or [])
    made: dict[str, Any] = {"digest": record["digest"], "facts": {}, "reason": ""}
    try:
        probe = decoding.probe(path)
        made["facts"] = _facts(probe, path)
        shorter = min(probe.width, probe.height)
        if shorter < config.min_height:
            made["reason"] = (
                f"too small: {shorter} pixels, prepare.min_height = {config.min_height}"
            )
        else:
            box = repair.content(path) if config.letterbox else framing.WHOLE
            for chunk in _chunks(path, box, config):
                reader.take(chunk)
            reader.finish(probe.seconds)
            made["facts"] |= reader.facts(box)
    except DataError as error:
        text = error.message.replace(f"{path} ", "")
        word = "no picture" if "no picture" in text else "cannot be opened"
        made["reason"] = f"{word}: {text.removeprefix('cannot be opened as video ')}"
    made |= {"figures": reader.figures(), "parts": reader.parts, "clips": reader.clips}
    if not made["reason"] and not reader.clips:
        made["reason"] = reader.why_nothing()
    np.savez(folder / "arrays.npz", **reader.arrays)  # type: ignore[arg-type]
    return [made]


def _facts(probe: decoding.Probe, path: Path) -> dict[str, Any]:
    return {
        "width": probe.width, "height": probe.height, "fps": probe.fps, "seconds": probe.seconds,
        "codec": probe.codec, "pixels": probe.pixels, "sound": probe.sound,
        "aspect": probe.aspect, "container": probe.container, "bytes": path.stat().st_size,
    }  # fmt: skip


def _chunks(path: Path, box: framing.Box, config: Config) -> Iterator[_Chunk]:
    """Decodes a file: pictures scaled to cover the stored size, bars cropped away."""
    import cv2

    chunk, held, scaled, inner = _Chunk(), 0, (0, 0), (slice(None), slice(None))
    shape: tuple[int, int] | None = None
    next_sample = next_look = 0.0
    for frame in decoding.frames(path):
        if frame.size != shape:
            shape = frame.size
            scaled, inner = framing.cover(shape, box, framing.choose(shape, box, config.sizes))
        picture = frame.picture(scaled)[inner]
        if chunk.pictures and (
            picture.shape != chunk.pictures[0].shape or held + picture.nbytes > _CHUNK
        ):
            chunk.end = frame.seconds
            yield chunk
            chunk, held = _Chunk(), 0
        if frame.seconds >= next_sample:
            scale = min(1.0, 360 / min(shape))
            luma = frame.picture((round(shape[0] * scale), round(shape[1] * scale)), grey=True)
            chunk.sampled[len(chunk.times)] = quality.of_picture(framing.inside(luma, box))
            next_sample = frame.seconds + 1 / _SAMPLES
        if config.crop != "centre" and frame.seconds >= next_look:
            scale = subject.shorter_side(config.crop) / min(picture.shape[:2])
            whole = (round(scaled[0] * scale), round(scaled[1] * scale))
            look = frame.picture(whole)
            chunk.looks[len(chunk.times)] = framing.inside(look, box)
            next_look = frame.seconds + 1 / subject.RATES[config.crop]
        chunk.times.append(frame.seconds)
        chunk.damaged.append(frame.damaged)
        chunk.pictures.append(picture)
        chunk.thumbs.append(
            np.asarray(cv2.resize(picture, _THUMB, interpolation=cv2.INTER_AREA), np.uint8)
        )
        held += picture.nbytes
    if chunk.times:
        chunk.end = chunk.times[-1] + timing.period(np.array(chunk.times))
        yield chunk


class _Reader:
    """Turns chunks of one file into clips and parts, in order."""

    def __init__(self, config: Config, folder: Path, boundaries: list[float]) -> None:
        self.config, self.folder, self.boundaries = config, folder, boundaries
        self.parts: list[dict[str, Any]] = []
        self.clips: list[dict[str, Any]] = []
        self.arrays: dict[str, npt.NDArray[np.uint8]] = {}
        self._luma = np.zeros((0, 0, 0), np.float32)
        self._damaged = 0
        self._decoded = 0
        self._cuts = 0

    def take(self, chunk: _Chunk) -> None:
        """Judges a chunk, writes its clips, and accounts for all of it."""
        times, thumbs = np.array(chunk.times), np.stack(chunk.thumbs)
        self._luma = quality.luma_of(thumbs)
        names = self._bad(chunk, thumbs)
        usable = np.array([not name for name in names])
        cuts = self._boundaries(times, thumbs, usable, names)
        usable = np.array([not name for name in names])
        for run in timing.segments(times, usable, cuts, self.config.max_gap):
            for piece in timing.pieces(times, run, self.config.max_seconds):
                name = self._clip(chunk, thumbs, times, piece)
                names[piece[0] : piece[-1] + 1] = [name] * (piece[-1] + 1 - piece[0])
        self._account(chunk, times, names)
        self._decoded += len(times)

    def _bad(self, chunk: _Chunk, thumbs: video.Frames) -> list[str]:
        """Why each frame cannot be used, or ""."""
        names = ["damaged" if bad else "" for bad in chunk.damaged]
        self._damaged += sum(chunk.damaged)
        black, repeated = quality.black(self._luma), quality.repeats(thumbs)
        static = repeated.mean() > _STATIC
        repeated &= ~quality.at_rest(repeated, self._luma)
        for place, name in enumerate(names):
            if not name and black[place]:
                names[place] = "black"
            elif not name and (static or repeated[place]):
                names[place] = "static" if static else "frozen"
        return names

    def _boundaries(
        self,
        times: timing.Floats,
        thumbs: video.Frames,
        usable: npt.NDArray[np.bool_],
        names: list[str],
    ) -> list[int]:
        """First frames of new shots, in places of all frames; frames of dissolves are named."""
        places = np.flatnonzero(usable)
        cuts = [int(np.searchsorted(times, t - 1e-6)) for t in self.boundaries]
        for found in shots.boundaries(thumbs[places], times[places]) if len(places) > 1 else []:
            first, last = (int(places[min(i, len(places) - 1)]) for i in (found.first, found.last))
            names[first:last] = ["transition"] * (last - first)
            cuts.append(last)
            self._cuts += 1
        return cuts

    def _clip(
        self, chunk: _Chunk, thumbs: video.Frames, times: timing.Floats, run: timing.Ints
    ) -> str:
        """Writes a run of frames as a clip; gives "clip N", or why it is set aside."""
        config = self.config
        seconds = float(times[run[-1]] - times[run[0]] + timing.period(times[run]))
        if seconds < config.min_seconds * _SHORTER:
            return f"too short: {seconds:.2f} s, prepare.min_seconds = {config.min_seconds:g}"
        measured = chunk.measured(run)
        found = quality.figures(thumbs[run], self._luma[run], times[run], measured)
        if reason := quality.verdict(found, shots.disorder(thumbs[run]), config):
            return reason
        grid = timing.align(times[run], config.fps, config.slow == "interpolate")
        frames = self._pictures(chunk, run, grid)
        number = len(self.clips)
        name = f"clip_{number:03d}.mp4"
        content = video.encode(frames, config.fps, config.quality, gop=_GOP)
        (self.folder / name).write_bytes(content)
        mean, square = quality.moments(frames)
        self.arrays[f"signature_{number}"] = duplicates.signature(
            np.stack([chunk.pictures[run[i]] for i in grid.before.tolist()]), config.fps
        )
        self.arrays[f"kinds_{number}"] = grid.kinds
        kinds = {"real": REAL, "repeated": REPEATED, "interpolated": INTERPOLATED}
        self.clips.append({
            "video": name, "start": float(times[run[0]]), "end": float(times[run[0]]) + seconds,
            "frames": len(frames), "height": frames.shape[1], "width": frames.shape[2],
            "fps": config.fps, "content": hashlib.sha256(content).hexdigest(),
            "mean": mean, "square": square,
            "kinds": {n: int((grid.kinds == kind).sum()) for n, kind in kinds.items()},
            "figures": found,
        })  # fmt: skip
        return f"clip {number}"

    def _pictures(self, chunk: _Chunk, run: timing.Ints, grid: timing.Grid) -> video.Frames:
        """The frames of a clip: at their rate, filled in, cropped."""
        pictures = [chunk.pictures[i] for i in run]
        size = self._size(pictures[0])
        middle = self._middle(chunk, run, size)
        cropped = [framing.crop(p, c, size) for p, c in zip(pictures, middle, strict=True)]
        if self.config.denoise != "none":
            cropped = list(repair.denoise(np.stack(cropped), self.config.denoise))
        steps = zip(grid.before.tolist(), grid.after.tolist(), grid.share.tolist(), strict=True)
        return np.stack([
            repair.interpolate(cropped[before], cropped[after], share) if share else cropped[before]
            for before, after, share in steps
        ])  # fmt: skip

    def _middle(
        self, chunk: _Chunk, run: timing.Ints, size: framing.Size
    ) -> list[tuple[float, float]]:
        """Where the middle of the crop is in each frame, y and x of 1."""
        places = [i for i in run.tolist() if i in chunk.looks]
        if self.config.crop == "centre" or len(places) < 2:
            return [(0.5, 0.5)] * len(run)
        found = subject.path(
            [chunk.looks[i] for i in places], size, self.config.crop, self.config.detector,
            subject.RATES[self.config.crop],
        )  # fmt: skip
        times = np.array(chunk.times)
        return [
            (y, x)
            for y, x in zip(
                *(np.interp(times[run], times[places], axis).tolist() for axis in found.T),
                strict=True,
            )
        ]

    def _size(self, picture: video.Frames) -> tuple[int, int]:
        shape = (picture.shape[0], picture.shape[1])
        return framing.choose(shape, framing.WHOLE, self.config.sizes)

    def _account(self, chunk: _Chunk, times: timing.Floats, names: list[str]) -> None:
        """Adds the chunk's parts, with a strip of pictures of what is set aside."""
        usual = timing.period(times)
        for start, end, name in timing.spans(times, names, chunk.end):
            inside = np.flatnonzero((times >= start) & (times < end))
            owned = min(end, float(times[inside[-1]]) + usual)
            kept = name.startswith("clip ")
            clip = int(name.removeprefix("clip ")) if kept else None
            strip = None if kept or end - start < 0.05 else self._strip(chunk, inside)
            found = self.clips[clip]["figures"] if clip is not None else {}
            if not kept and len(inside) > 1:
                measured = chunk.measured(inside)
                thumbs, luma = np.stack(chunk.thumbs)[inside], self._luma[inside]
                found = quality.figures(thumbs, luma, times[inside], measured)
            self._part(start, owned, name, clip, strip, found)
            if end - owned > usual / 2:  # time that no frame covers
                self._part(owned, end, "damaged" if self._damaged else "gap", None, None, {})

    def _part(
        self, start: float, end: float, name: str, clip: int | None, strip: str | None,
        found: quality.Figures,
    ) -> None:  # fmt: skip
        if self.parts:
            start = self.parts[-1]["end"]
        detail = "" if clip is not None or ":" in name else f": {end - start:.2f} s"
        self.parts.append({
            "start": start, "end": end, "fate": "set aside" if clip is None else "kept",
            "reason": "" if clip is not None else name + detail, "clip": clip, "strip": strip,
            "figures": found,
        })  # fmt: skip

    def _strip(self, chunk: _Chunk, places: npt.NDArray[np.int64]) -> str | None:
        import cv2

        if sum(part["strip"] is not None for part in self.parts) >= _STRIPS:
            return None
        chosen = places[np.linspace(0, len(places) - 1, min(_MOMENTS, len(places))).astype(int)]
        pictures = []
        for place in chosen:
            picture = chunk.pictures[place]
            width = max(1, round(_STRIP * picture.shape[1] / picture.shape[0]))
            pictures.append(cv2.resize(picture, (width, _STRIP), interpolation=cv2.INTER_AREA))
        name = f"part_{len(self.parts):03d}.jpg"
        (self.folder / name).write_bytes(video.jpeg(np.concatenate(pictures, 1).astype(np.uint8)))
        return name

    def finish(self, said: float | None) -> None:
        """Accounts for what the header promises and the decoder never gave."""
        end = self.parts[-1]["end"] if self.parts else 0.0
        if said is not None and said < 1e6 and said - end > max(0.5, 0.05 * said):
            self._part(end, said, "damaged", None, None, {})

    def facts(self, box: framing.Box) -> dict[str, Any]:
        """What decoding found of the whole file."""
        end = self.parts[-1]["end"] if self.parts else 0.0
        bars = [round(value, 4) for value in box] if box != framing.WHOLE else None
        return {
            "seconds": end, "frames": self._decoded, "damaged_frames": self._damaged,
            "cuts": self._cuts, "letterbox": bars,
        }  # fmt: skip

    def figures(self) -> quality.Figures:
        """The whole file's figures: its parts', by their lengths."""
        told = [part for part in self.parts if part["figures"]]
        weights = [max(part["end"] - part["start"], 1e-6) for part in told]
        return {
            name: np.average([p["figures"][name] for p in told], axis=0, weights=weights).tolist()
            for name in (told[0]["figures"] if told else {})
        }

    def why_nothing(self) -> str:
        """The reason that took most of a file of which nothing is kept."""
        lost: dict[str, float] = {}
        for part in self.parts:
            word = part["reason"].partition(":")[0]
            lost[word] = lost.get(word, 0.0) + part["end"] - part["start"]
        if not lost:
            return "no picture: no frame could be decoded"
        worst = max(lost, key=lambda word: lost[word])
        return str(next(p["reason"] for p in self.parts if p["reason"].startswith(worst)))
