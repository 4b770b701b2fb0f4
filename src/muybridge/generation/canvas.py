"""What is given of a video of any length, frame by frame, and the windows in which it is filled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.errors import MuybridgeError
from ..core.video import Frames

Lines = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Known:
    """Pixels that stay: a picture (height, width, 3), where `where` (height, width) is true; all of
    it where that is None."""

    picture: Frames
    where: Lines | None = None


@dataclass(frozen=True)
class Scene:
    """What is said from a frame on; None for what is said of the whole. A `cut` begins anew."""

    begin: int
    text: str | None = None
    cut: bool = False


@dataclass
class Canvas:
    """A video to be made.

    Attributes:
        frames: how many.
        fps: frames a second at which it is shown.
        known: frames of which pixels are known.
        sketch: frames beside which lines are drawn.
        video: frames beside which a small or damaged one stands.
        true: frames that what is made has to be when it is made as small, and as grey if they are
            `pale`.
        source: frames from whose noised form sampling begins, at the share `strength` of its steps.
        scenes: in order, the first from frame 0.
        loop: the last frames lead to the first.
        dissolves: what is known before and after what is to be made are two scenes.
        held: frames that are there already at the beginning of each window but the first; few are
            enough for what is guided throughout, and take less time.
        every: frames from one that is known to the next, where all but these are to be made.
        files: pictures that a storyboard names.
        done: what was done to what is given, in words.
    """

    frames: int
    fps: float
    known: dict[int, Known] = field(default_factory=dict)
    sketch: dict[int, Lines] = field(default_factory=dict)
    video: dict[int, Frames] = field(default_factory=dict)
    true: dict[int, Frames] = field(default_factory=dict)
    pale: bool = False
    source: dict[int, Frames] = field(default_factory=dict)
    strength: float = 1.0
    scenes: list[Scene] = field(default_factory=lambda: [Scene(0)])
    loop: bool = False
    dissolves: bool = False
    held: int = 8
    every: int = 1
    files: list[Path] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def whole(self, frame: int) -> bool:
        """Whether all of a frame is known."""
        return frame in self.known and self.known[frame].where is None


@dataclass(frozen=True)
class Window:
    """Frames `begin` up to `end` are made at once, of which those before `kept` are kept that were
    not there before. What is from `limit` on is another scene's, or beyond the canvas' end."""

    begin: int
    end: int
    kept: int
    limit: int
    scene: Scene = Scene(0)


def windows(canvas: Canvas, length: int, span: int) -> Iterator[Window]:
    """The windows that fill a canvas, in order: each begins with frames that are there by then.

    Args:
        canvas: what is given.
        length: frames that a model makes at once.
        span: frames of one of its tokens.

    Raises:
        MuybridgeError: it is to loop, and is shorter than what is made at once.
    """
    if canvas.loop and length <= 2 * span:
        raise MuybridgeError(
            f"a loop: the model makes {length} frames at once, {span} to a token, and so sees none "
            "on both sides of a passage",
            "take a run of more data.frames",
        )
    if canvas.loop and canvas.frames < length:
        raise MuybridgeError(
            f"a loop of {canvas.frames} frames: fewer than the {length} that are made at once",
            f"make it {length / canvas.fps:g} s or longer",
        )
    if canvas.frames < length:
        length = -(-canvas.frames // span) * span
    for place, scene in enumerate(canvas.scenes):
        later = canvas.scenes[place + 1 :]
        end = later[0].begin if later else canvas.frames
        limit = next((one.begin for one in later if one.cut), canvas.frames)
        first = max((one.begin for one in canvas.scenes[: place + 1] if one.cut), default=0)
        made = _unmade(canvas, scene.begin, end)
        while made < end:
            window = _window(canvas, made, first, limit, length, span)
            window = replace(window, scene=scene, kept=min(window.kept, end))
            assert window.kept > made, "a window that makes nothing"
            yield window
            made = _unmade(canvas, window.kept, end)


def _window(canvas: Canvas, made: int, first: int, limit: int, length: int, span: int) -> Window:
    """The window that goes on from frame `made`; what is before `first`, or from `limit` on, is
    another scene's."""
    reach = min(limit, made + length)
    gap = next((at for at in range(made, reach) if canvas.whole(at)), reach) - made
    widest = length - 2 * span
    wraps = canvas.loop and made + gap == canvas.frames and made > 0
    if gap <= widest and (wraps or made + gap < limit):
        lead = min((length - gap) // (2 * span) * span, made - first)
    else:
        lead = min(canvas.held, length // 2, made - first)
    if canvas.every > 1:
        lead = 1 + (made - 1) % canvas.every
    kept = made - lead + length
    if canvas.every > 1:
        if kept < canvas.frames:
            kept = 1 + (kept - 1) // canvas.every * canvas.every  # not beyond the last known one
        return Window(made - lead, made - lead + length, kept, limit)
    # Of what leads to a known frame that this window does not see, the next is to make a passage.
    ahead = range(made, min(limit, kept + max(widest, 0)))
    goal = next((at for at in ahead if canvas.whole(at)), None)
    if goal is None and canvas.loop and limit == canvas.frames and (not wraps or gap > widest):
        goal = canvas.frames
    if goal is not None and goal >= made - lead + length and goal - widest > made:
        kept = min(kept, goal - widest)
    return Window(made - lead, made - lead + length, kept, limit)


def _unmade(canvas: Canvas, begin: int, end: int) -> int:
    """The first frame that is not wholly known; `end` where there is none."""
    return next((at for at in range(begin, end) if not canvas.whole(at)), end)
