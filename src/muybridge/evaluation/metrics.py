"""The names under which measures are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ..core.errors import MuybridgeError, nearest

METRICS: Mapping[str, str] = MappingProxyType(
    {
        "appearance": "distance by what clips look like; needs no weights",
        "motion": "distance by how brightness changes; needs no weights",
        "learned": "distance by an extractor trained on the training split (minutes, once)",
        "manifold": "precision, recall, density and coverage",
        "kernel": "the unbiased kernel distance beside each of these distances",
        "time": "sharpness, grid, warping error, flicker, motion, drift, jump cuts",
        "stage": "words as asked, and physics, where captions are the stage's",
        "labels": "a classifier of the dataset's labels (trained once): recognised as asked",
        "copying": "share of copies, closeness to training clips, variety within labels",
        "truth": "PSNR, SSIM, MS-SSIM and LPIPS, where clips have the names of real ones",
        "prediction": "PSNR and SSIM of continuations, of runs that go on from given frames",
        "speed": "seconds, memory, parameters and operations of a clip",
        "baselines": "the same scores of clips that cost nothing",
        "fid": "Frechet Inception Distance of frames, and KID",
        "fvd": "Frechet Video Distance, and KVD",
        "is": "Inception Score of frames, and of videos by C3D",
    }
)  # fmt: skip
# Without what trains a network first, or says little more.
DEFAULT = tuple(name for name in METRICS if name not in ("learned", "kernel"))


def check_names(names: Sequence[str], setting: str) -> None:
    """Raises MuybridgeError for a measure that there is not."""
    for name in names:
        if name not in METRICS:
            close = nearest(name, METRICS)
            raise MuybridgeError(
                f"{setting}: there is no measure {name!r}",
                f"did you mean {close}?" if close else f"there are {', '.join(METRICS)}",
            )
