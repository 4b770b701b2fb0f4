"""What the reference networks see in clips, by the conventions that their scores are named after.

Each function takes clips (n, time, 3, height, width) in [-1, 1] and makes uint8 of them first, as
reading them from files would. A clip is judged alone, so results do not depend on what it is judged
with. `for_fid` and its like find the weights and give an extractor that knows its own name: "FID"
where the published hashes matched, and otherwise not.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import MuybridgeError
from ..models import c3d, i3d, inception
from ..models.lpips import LPIPS
from .reference_weights import Loaded, load
from .references import PUBLISHED, Missing, Reference, Where

Array = npt.NDArray[np.float64]
Resize = Literal["clean", "tf1"]
_AT_ONCE = 16  # pictures; fixed, so that no sum is taken in another order


@dataclass(frozen=True)
class Extractor:
    """A reference's network with the convention it is used by.

    Attributes:
        score: what it is used for.
        loaded: the network and its weights.
        extract: clips (or two of their kind, for LPIPS) and the network to an array.
        settings: what a manifest must tell of the convention.
    """

    score: str
    loaded: Loaded
    extract: Callable[..., Array]
    settings: Mapping[str, Any]

    def __call__(self, *clips: Tensor) -> Array:
        """Extracts; see the function that made this."""
        return self.extract(*clips, self.loaded.network)

    @property
    def name(self) -> str:
        """What its score may be called."""
        return self.named(self.score)

    @property
    def manifest(self) -> dict[str, Any]:
        """Network, weights with their hash, and convention."""
        return {"extractor": self.loaded.reference.name, **self.loaded.facts, **self.settings}

    def named(self, score: str) -> str:
        """`score` where the weights are the published ones, else that they are others."""
        reference = self.loaded.reference
        if reference == PUBLISHED.get(reference.name):
            return score
        return f"{score} by other weights ({reference.files[0].sha256[:8]})"


def for_fid(
    where: Where = None, resize: Resize = "clean", reference: Reference = PUBLISHED["inception"]
) -> Extractor | Missing:
    """Extractor for FID and KID: clips to (n, time, 2048); see `fid_features`.

    Args:
        where: where to look first for the weights; see `references.find`.
        resize: how pictures are brought to 299 x 299.
        reference: the network; with another one the score has another name.

    Raises:
        MuybridgeError: `where` holds no weights, or a file that is not the published one.
    """
    extract = functools.partial(fid_features, resize=resize)
    settings = {"side": inception.SIDE, "resize": _RESIZES[resize], "range": "(uint8 - 128) / 128"}
    return _extractor("FID", reference, where, extract, settings)


def for_inception_score(
    where: Where = None, reference: Reference = PUBLISHED["inception"]
) -> Extractor | Missing:
    """Extractor for the Inception Score of frames: clips to (n, time, 1008); see `for_fid`."""
    settings = {"side": inception.SIDE, "resize": _RESIZES["tf1"], "range": "(uint8 - 128) / 128"}
    settings |= {"outputs": "1008, no bias"}
    return _extractor("IS", reference, where, inception_probabilities, settings)


def for_fvd(where: Where = None, reference: Reference = PUBLISHED["i3d"]) -> Extractor | Missing:
    """Extractor for FVD and KVD: clips to (n, 400); see `fvd_features` and `for_fid`."""
    settings = {"side": i3d.SIDE, "resize": "stretched, bilinear", "range": "uint8 / 127.5 - 1"}
    return _extractor("FVD", reference, where, fvd_features, settings | {"outputs": "400 logits"})


def for_video_inception_score(
    where: Where = None, reference: Reference = PUBLISHED["c3d"]
) -> Extractor | Missing:
    """Extractor for the Inception Score of videos: clips to (n, 101); see `c3d_probabilities`."""
    settings = {
        "side": c3d.SIDE,
        "resize": "stretched, bilinear, corners aligned",
        "range": "128 (uint8 / 127.5 - 1) + 128 - mean, blue first",
    }
    return _extractor("IS (C3D)", reference, where, c3d_probabilities, settings)


def for_lpips(
    backbone: Literal["alex", "vgg"] = "alex",
    where: Where = None,
    reference: Reference | None = None,
) -> Extractor | Missing:
    """Extractor for LPIPS v0.1 of two sets of clips; see `lpips` and `for_fid`."""
    used = reference or PUBLISHED[f"lpips-{backbone}"]
    return _extractor("LPIPS", used, where, lpips, {"backbone": backbone, "version": "0.1"})


def _extractor(
    score: str,
    reference: Reference,
    where: Where,
    extract: Callable[..., Array],
    settings: Mapping[str, Any],
) -> Extractor | Missing:
    try:
        loaded = load(reference, where)
    except MuybridgeError as error:
        if where is not None:
            raise
        # Nobody asked for the file that was come across: it stops this score alone.
        return Missing(score, error.message, error.hint)
    if isinstance(loaded, Missing):
        if where is not None:
            raise MuybridgeError(f"{score}: {loaded.why} (looked first in {where})", loaded.hint)
        return Missing(score, loaded.why, loaded.hint)
    return Extractor(score, loaded, extract, settings)


def fid_features(clips: Tensor, network: nn.Module, resize: Resize = "clean") -> Array:
    """Features of frames for FID: Heusel et al. 2017, the last average of Inception.

    Args:
        clips: float32 (n, time, 3, height, width) in [-1, 1].
        network: `models.inception`'s.
        resize: to 299 x 299, "clean": bicubic with antialiasing, not rounded afterwards (Parmar et
            al. 2022); or "tf1": bilinear between the samples at floor(place x scale) as TensorFlow
            1 did, which the original FID used.

    Returns:
        (n, time, 2048).
    """
    return _of_frames(clips, network, lambda pictures: network(_pictures(pictures, resize)))


def inception_probabilities(clips: Tensor, network: inception.Inception) -> Array:
    """Probabilities of frames for the Inception Score: Salimans et al. 2016.

    Over all 1008 outputs, of scores without the bias, as in the authors' code.

    Args:
        clips: float32 (n, time, 3, height, width) in [-1, 1].
        network: `models.inception`'s.

    Returns:
        (n, time, 1008); each frame's sum is 1.
    """

    def of(pictures: Tensor) -> Tensor:
        return network.logits(network(_pictures(pictures, "tf1"))).double().softmax(-1)

    return _of_frames(clips, network, of)


def fvd_features(clips: Tensor, network: nn.Module) -> Array:
    """Features of clips for FVD: Unterthiner et al. 2018, the 400 scores of I3D.

    Frames are stretched to 224 x 224 (bilinear, pixels' centres aligned, not antialiased).

    Args:
        clips: float32 (n, time, 3, height, width) in [-1, 1]; 16 frames by convention.
        network: `models.i3d`'s.

    Returns:
        (n, 400).

    Raises:
        MuybridgeError: fewer than ten frames.
    """
    _check(clips)
    if clips.shape[1] < i3d.LEAST_FRAMES:
        raise MuybridgeError(
            f"FVD needs {i3d.LEAST_FRAMES} frames or more, and the clips have {clips.shape[1]}",
            "take longer clips; 16 frames are usual",
        )

    def of(clip: Tensor) -> Tensor:
        frames = F.interpolate(clip, (i3d.SIDE, i3d.SIDE), mode="bilinear", align_corners=False)
        scores: Tensor = network((frames / 127.5 - 1).movedim(1, 0)[None])
        return scores[0]

    return _each(clips, network, of)


def c3d_probabilities(clips: Tensor, network: nn.Module) -> Array:
    """Probabilities of clips for the Inception Score of videos: Saito et al. 2017 (TGAN).

    Frames are stretched to 112 x 112 (bilinear, corners aligned, as in TGAN's code).

    Args:
        clips: float32 (n, 16, 3, height, width) in [-1, 1].
        network: `models.c3d`'s.

    Returns:
        (n, 101); each clip's sum is 1.

    Raises:
        MuybridgeError: other than sixteen frames.
    """
    _check(clips)
    if clips.shape[1] != c3d.FRAMES:
        raise MuybridgeError(
            f"C3D takes clips of {c3d.FRAMES} frames, and these have {clips.shape[1]}",
            "take clips of 16 frames",
        )

    def of(clip: Tensor) -> Tensor:
        frames = F.interpolate(clip, (c3d.SIDE, c3d.SIDE), mode="bilinear", align_corners=True)
        scores: Tensor = network((frames / 127.5 - 1).movedim(1, 0)[None])
        return scores[0].double().softmax(-1)

    return _each(clips, network, of)


def lpips(first: Tensor, second: Tensor, network: LPIPS) -> Array:
    """LPIPS v0.1 of pictures or clips, frame by frame: Zhang et al. 2018, equation 1.

    Args:
        first: float32 (..., 3, height, width) in [-1, 1]; not rounded to uint8.
        second: the same shape.
        network: `models.lpips`'s.

    Returns:
        (...): (n,) for pictures, (n, time) for clips.

    Raises:
        ValueError: shapes that differ, or pictures too small for the backbone.
    """
    if first.shape != second.shape or first.ndim < 4 or first.shape[-3] != 3:
        raise ValueError(
            f"two sets of RGB pictures of one shape are wanted, not {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    if min(first.shape[-2:]) < network.least_side:
        raise ValueError(
            f"pictures of {first.shape[-2]} x {first.shape[-1]} are too small for this LPIPS, "
            f"which needs {network.least_side} x {network.least_side}"
        )
    place = next(network.parameters()).device
    pairs = zip(first.flatten(0, -4), second.flatten(0, -4), strict=True)
    with _exact(place):
        rows = [network(one[None].to(place), two[None].to(place)).cpu() for one, two in pairs]
    return torch.cat(rows).reshape(first.shape[:-3]).double().numpy()


_RESIZES = {"clean": "bicubic, antialiased, float (clean-fid)", "tf1": "bilinear (TensorFlow 1)"}


def _pictures(pictures: Tensor, resize: Resize) -> Tensor:
    """Inception's input from pictures (n, 3, height, width) of 0 to 255."""
    side = inception.SIDE
    if resize == "clean":
        # Pillow, which clean-fid resizes with, weighs samples in float64.
        x = F.interpolate(pictures.double(), (side, side), mode="bicubic", antialias=True)
        x = x.float().clamp(0, 255)  # bicubic overshoots
    elif resize == "tf1":
        x = _tf1(_tf1(pictures, side, -1), side, -2)
    else:
        raise ValueError(f'resize is "clean" or "tf1", not {resize!r}')
    return (x - 128) / 128


def _tf1(x: Tensor, size: int, axis: int) -> Tensor:
    """TensorFlow 1's bilinear resize along one axis: sample k is taken at k x old / new."""
    old = x.shape[axis]
    places = torch.arange(size, device=x.device, dtype=torch.float64) * (old / size)
    low = places.long()
    share = (places - low).to(x.dtype).reshape([-1] + [1] * (-axis - 1))
    high = (low + 1).clamp(max=old - 1)
    return x.index_select(axis, low).lerp(x.index_select(axis, high), share)


def _check(clips: Tensor) -> None:
    if clips.ndim != 5 or clips.shape[2] != 3 or 0 in clips.shape:
        raise ValueError(f"clips (n, time, 3, height, width) are wanted, not {tuple(clips.shape)}")


def _of_frames(clips: Tensor, network: nn.Module, of: Callable[[Tensor], Tensor]) -> Array:
    """Applies `of` to the frames of each clip, as many at once as always."""
    _check(clips)

    def each(clip: Tensor) -> Tensor:
        return torch.cat([of(part) for part in torch.split(clip, _AT_ONCE)])

    return _each(clips, network, each)


def _each(clips: Tensor, network: nn.Module, of: Callable[[Tensor], Tensor]) -> Array:
    """Applies `of` to each clip as (time, 3, height, width) of whole numbers 0 to 255."""
    place = next(network.parameters()).device
    rows = []
    with _exact(place):
        for clip in clips:
            if not bool(clip.isfinite().all()):
                raise ValueError("a clip holds values that are not finite")
            whole = ((clip.to(place, torch.float32) + 1) * 127.5).round().clamp(0, 255)
            rows.append(of(whole).double().cpu())
    return torch.stack(rows).numpy()


@contextlib.contextmanager
def _exact(place: torch.device) -> Iterator[None]:
    """Plain float32, without gradients, and the same each time."""
    with (
        torch.no_grad(),
        torch.autocast(place.type, enabled=False),
        torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ),
    ):
        yield
