"""From what is asked for to a canvas: files are read, fitted to the run and put in place."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from ..core.config import NotNegative, Section, parse
from ..core.errors import DataError, MuybridgeError
from ..core.video import Frames
from ..data import guides
from ..run import Run
from . import dissolve, drawings, foreground, pictures, segmenter
from .asked import THINGS, Asked, is_word
from .canvas import Canvas, Known, Lines, Scene


class Moment(Section):
    """A moment of a storyboard."""

    at: NotNegative
    """Seconds from the beginning."""
    text: str | None = None
    """What is to be seen from here on."""
    image: Path | None = None
    """Picture that is shown here."""
    cut: bool = False
    """Begin a new scene here, which shares nothing with what is before it."""


def compose(run: Run, asked: Asked) -> Canvas:
    """The canvas of what is asked for.

    Raises:
        MuybridgeError: a file that cannot be read, or things that do not go together.
    """
    canvas = _begun(run, asked)
    if asked.image is not None and asked.mask is None and asked.outpaint is None:
        _still(canvas, 0, _picture(run, canvas, asked.image, "--image"))
    if asked.last_image is not None:
        last = canvas.frames - 1
        _still(canvas, last, _picture(run, canvas, asked.last_image, "--last-image"))
    if asked.sketch is not None:
        _draw(run, canvas, asked.sketch)
    canvas.loop = asked.loop
    if asked.background is None and all(canvas.whole(at) for at in range(canvas.frames)):
        raise MuybridgeError(
            f"all {canvas.frames} frames are given, and none is left to be made", "raise --seconds"
        )
    return canvas


def _begun(run: Run, asked: Asked) -> Canvas:
    if asked.storyboard is not None:
        return _storyboard(run, asked, asked.storyboard)
    if asked.between is not None:
        return _between(run, asked, *asked.between)
    if asked.prefix is not None:
        return _continued(run, asked, asked.prefix)
    if asked.interpolate is not None and asked.video is not None:
        return _interpolated(run, asked, asked.video, asked.interpolate)
    if asked.video is not None:
        return _of_video(run, asked, asked.video)
    canvas = Canvas(_frames(run, asked), run.recipe.data.fps)
    if asked.image is not None and (asked.mask is not None or asked.outpaint is not None):
        one = _picture(run, canvas, asked.image, "--image")
        _around(run, asked, canvas, [one] * canvas.frames)
    return canvas


def _frames(run: Run, asked: Asked, usual: int | None = None) -> int:
    data = run.recipe.data
    frames = (usual or data.frames) if asked.seconds is None else round(asked.seconds * data.fps)
    if frames < 1:
        raise MuybridgeError(
            f"--seconds {asked.seconds:g}: no frame, at {data.fps:g} a second",
            f"ask for {1 / data.fps:g} s or more",
        )
    return frames


def _continued(run: Run, asked: Asked, path: Path) -> Canvas:
    data = run.recipe.data
    span, most = run.recipe.multiple[0], data.tasks.given
    few = None if asked.extend else min(most, data.frames // 2)
    found, done = pictures.frames(path, data.size, data.fps, "--prefix", last=few)
    if asked.extend is None:
        count = min(most, len(found), data.frames // 2)
        found = found[-(count // span * span or count) :]
        frames = _frames(run, asked)
    else:
        frames = len(found) + max(1, round(asked.extend * data.fps))
    canvas = Canvas(frames, data.fps, done=done)
    canvas.done.append(f"--prefix {path.name}: {len(found)} frames at {data.fps:g} a second")
    canvas.known |= {at: Known(one) for at, one in enumerate(found[:frames])}
    return canvas


def _between(run: Run, asked: Asked, first: Path, last: Path) -> Canvas:
    data = run.recipe.data
    sides = [pictures.frames(one, data.size, data.fps, "--between") for one in (first, last)]
    (before, said), (after, more) = sides
    gap = _frames(run, asked, usual=data.frames // 2)
    canvas = Canvas(len(before) + gap + len(after), data.fps, done=[*said, *more])
    canvas.known |= {at: Known(one) for at, one in enumerate(before)}
    canvas.known |= {len(before) + gap + at: Known(one) for at, one in enumerate(after)}
    if dissolve.unlike(before, after, data.fps):
        canvas.dissolves = True
        canvas.done.append("--between two scenes: each goes on, and one dissolves into the other")
    return canvas


def _of_video(run: Run, asked: Asked, path: Path) -> Canvas:
    data = run.recipe.data
    most = None if asked.seconds is None else _frames(run, asked)
    size = data.size
    if asked.upscale:
        size = (size[0] // asked.upscale, size[1] // asked.upscale)
    found, done = pictures.frames(path, size, data.fps, "--video", most)
    true = dict(enumerate(found))
    if asked.upscale:
        done.append(f"enlarged {asked.upscale} times (bicubic), to be sharpened")
        found = [guides.enlarged(one, data.size) for one in found]
    canvas = Canvas(len(found), data.fps, done=done)
    if asked.enhanced:
        canvas.held = 4
        if asked.colourise:
            found = [guides.grey(one) for one in found]
        canvas.video |= dict(enumerate(found))
        if not (asked.denoise or asked.mask or asked.outpaint or asked.background):
            canvas.true, canvas.pale = true, asked.colourise
    if asked.background is not None:
        found = _before(run, canvas, found, asked.background, _things(asked, found))
        canvas.known |= {} if asked.strength else {at: Known(one) for at, one in enumerate(found)}
    if asked.strength is not None:
        canvas.source, canvas.strength = dict(enumerate(found)), asked.strength
    if asked.mask is not None or asked.outpaint is not None:
        _around(run, asked, canvas, found)
    if asked.loop and not (asked.enhanced or asked.strength or asked.mask or asked.outpaint):
        canvas.known |= {at: Known(one) for at, one in enumerate(found)}
        canvas.frames += data.frames - 2 * run.recipe.multiple[0]
        canvas.done.append(
            f"a passage of {canvas.frames - len(found)} frames leads to its beginning"
        )
    return canvas


def _interpolated(run: Run, asked: Asked, path: Path, wanted: float) -> Canvas:
    """Frames between those of a video: the model sees them as if they were its own frames apart."""
    data, own = run.recipe.data, pictures.rate(path, "--video")
    times = next((k for k in (2, 4, 8) if wanted / k <= own * 1.01), None)
    if times is not None and times >= data.frames:
        raise MuybridgeError(
            f"--interpolate {wanted:g}: {times} times as many frames, and the model sees "
            f"{data.frames} at once",
            f"ask for {2 * own:g}, and then again",
        )
    if wanted <= own * 1.01 or times is None:
        raise MuybridgeError(
            f"--interpolate {wanted:g}: the video has {own:g} frames a second, and 2, 4 or 8 times "
            "as many can be made",
            f"ask for {2 * own:g}, {4 * own:g} or {8 * own:g}",
        )
    most = None if asked.seconds is None else math.ceil(asked.seconds * wanted / times)
    found, done = pictures.frames(path, data.size, wanted / times, "--video", most)
    canvas = Canvas(times * (len(found) - 1) + 1, wanted, every=times, done=done)
    canvas.done.append(f"{times - 1} frames are made after each of {wanted / times:g} a second")
    canvas.known |= {times * at: Known(one) for at, one in enumerate(found)}
    return canvas


def _around(run: Run, asked: Asked, canvas: Canvas, found: list[Frames]) -> None:
    """What is known of frames: all but what a mask says, or what is within a border."""
    size = run.recipe.data.size
    if asked.outpaint is not None:
        inner = tuple(max(1, round(n * (1 - 2 * asked.outpaint))) for n in size)
        top, left = ((n - m) // 2 for n, m in zip(size, inner, strict=True))
        where = np.zeros(size, bool)
        where[top : top + inner[0], left : left + inner[1]] = True
        for at, one in enumerate(found):
            whole = np.zeros_like(one)
            small = cv2.resize(one, inner[::-1], interpolation=cv2.INTER_AREA)
            whole[top : top + inner[0], left : left + inner[1]] = small
            canvas.known[at] = Known(whole, where)
        canvas.done.append(f"shrunk to {inner[1]}x{inner[0]}, a border is made around it")
        return
    assert asked.mask is not None
    if is_word(asked.mask):
        shares = _things(asked, found)
        kept = [(one < 0.5) == (str(asked.mask) == THINGS) for one in shares]
    else:
        kept = _masks(run, canvas, asked.mask, len(found))
    for at, one in enumerate(found):
        where = kept[min(at, len(kept) - 1)]
        canvas.known[at] = Known(one, None if bool(where.all()) else where)


def _masks(run: Run, canvas: Canvas, path: Path, count: int) -> list[Lines]:
    """Where pixels are kept: where a mask is not white."""
    masks, done = pictures.frames(path, run.recipe.data.size, run.recipe.data.fps, "--mask", count)
    canvas.done += done
    kept = [mask.mean(-1) < 128 for mask in masks]
    if all(bool(one.all()) for one in kept):
        raise DataError(
            f"--mask {path} is nowhere white: there is nothing to make anew",
            "paint white what is to be made",
        )
    return kept


def _things(asked: Asked, found: list[Frames]) -> list[foreground.Share]:
    """Share of each pixel that belongs to what moves."""
    if asked.segmenter is not None:
        return segmenter.load(asked.segmenter).foreground(found)
    return foreground.foreground(found)


def _before(
    run: Run, canvas: Canvas, found: list[Frames], behind: Path, shares: list[foreground.Share]
) -> list[Frames]:
    """What moves, before another background."""
    size = run.recipe.data.size
    if str(behind).startswith("#"):
        try:
            colour = bytes.fromhex(str(behind)[1:])
        except ValueError:
            colour = b""
        if len(colour) != 3:
            raise DataError(f"--background {behind} is no colour", "write it as #rrggbb")
        others = [np.broadcast_to(np.frombuffer(colour, np.uint8), (*size, 3)).copy()]
    else:
        others, done = pictures.frames(
            behind, size, run.recipe.data.fps, "--background", len(found)
        )
        canvas.done += done
    return foreground.before(found, shares, others)


def _storyboard(run: Run, asked: Asked, path: Path) -> Canvas:
    data = run.recipe.data
    moments = _moments(path)
    last = max(moment.at for moment in moments)
    usual = max(data.frames, round(last * data.fps) + 1)
    if moments[-1].image is None and moments[-1].at > 0:
        usual = round(last * data.fps) + data.frames
    canvas = Canvas(_frames(run, asked, usual), data.fps)
    scenes = []
    for moment in moments:
        at = round(moment.at * data.fps)
        if at >= canvas.frames:
            raise MuybridgeError(
                f"--storyboard {path}: a moment at {moment.at:g} s, and the video ends at "
                f"{canvas.frames / data.fps:g} s",
                "raise --seconds",
            )
        if moment.image is not None:
            there = path.parent / moment.image
            canvas.files.append(there)
            _still(canvas, at, _picture(run, canvas, there, "--storyboard image"))
        if moment.text is not None or moment.cut:
            scenes.append(Scene(at, moment.text, moment.cut))
    if not scenes or scenes[0].begin > 0:
        scenes.insert(0, Scene(0))
    canvas.scenes = scenes
    return canvas


def _moments(path: Path) -> list[Moment]:
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(
            f"--storyboard {path} cannot be read: {error}", "give YAML or JSON"
        ) from error
    if (
        not isinstance(content, list)
        or not content
        or not all(isinstance(m, dict) for m in content)
    ):
        raise DataError(
            f"--storyboard {path} is no list of moments",
            'write it as - {at: 0, text: "..."} and - {at: 2, image: picture.png}, a line each',
        )
    found = [parse(Moment, one, f"{path.name} [{place}]") for place, one in enumerate(content)]
    return sorted(found, key=lambda moment: moment.at)


def _draw(run: Run, canvas: Canvas, path: Path) -> None:
    """A drawing beside the first frame, or drawings beside as many as a video has."""
    data = run.recipe.data
    size = (data.size[0] * drawings.FINER, data.size[1] * drawings.FINER)
    found, done = pictures.frames(path, size, canvas.fps, "--sketch", canvas.frames)
    canvas.done += done
    said: set[str] = set()
    for at, one in enumerate(found):
        drawn, what = drawings.lines(one)
        canvas.sketch[at] = drawn
        said |= {f"--sketch {path.name}: {what}"} if what else set()
    canvas.done += sorted(said)


def _picture(run: Run, canvas: Canvas, path: Path, option: str) -> Frames:
    made, done = pictures.picture(path, run.recipe.data.size, option)
    canvas.done += done
    return made


def _still(canvas: Canvas, at: int, picture: Frames) -> None:
    canvas.known[at] = Known(picture)
