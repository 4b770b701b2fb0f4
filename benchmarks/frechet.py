"""The Frechet distance against the same by `scipy.linalg.sqrtm`, in one run: time and value.

python benchmarks/frechet.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch
from common import report

from muybridge.evaluation.frechet import frechet

Array = npt.NDArray[np.float64]
Formula = Callable[[Array, Array], float]
CASES = (  # clips, features, how fast variances fall: as i^-power
    (5000, 2048, 0.0),
    (5000, 2048, 1.0),
    (5000, 2048, 3.0),
    (500, 2048, 0.0),
    (128, 400, 0.0),
)


def by_square_root(generated: Array, real: Array) -> float:
    """As it is usually computed, from covariances."""
    a, b = np.cov(generated.T), np.cov(real.T)
    gap = generated.mean(0) - real.mean(0)
    root = scipy.linalg.sqrtm(a @ b)
    return float(gap @ gap + np.trace(a) + np.trace(b) - 2 * np.trace(root).real)


def seconds(formula: Formula, generated: Array, real: Array) -> tuple[float, float]:
    """Of one computation, and the value."""
    begun = time.perf_counter()
    value = formula(generated, real)
    return time.perf_counter() - begun, value


def features(clips: int, width: int, power: float) -> tuple[Array, Array]:
    """Two sets of Gaussian features with variances that fall, along axes turned at random."""
    random = np.random.default_rng(0)
    turn = np.linalg.qr(random.standard_normal((width, width)))[0]
    spread = np.arange(1.0, width + 1) ** (-power / 2)
    rows = random.standard_normal((2, clips, width)) * spread
    rows[0] = 1.1 * rows[0] + 0.1 * spread
    return rows[0] @ turn, rows[1] @ turn


def main() -> None:
    """Compares both at several shapes."""
    rows = []
    for clips, width, power in CASES:
        generated, real = features(clips, width, power)
        before, value = seconds(frechet, generated, real)
        theirs, reference = seconds(by_square_root, generated, real)
        ours = (before + seconds(frechet, generated, real)[0]) / 2  # the machine's speed changes
        rows.append(
            {
                "clips": clips,
                "features": width,
                "power": power,
                "frechet s": ours,
                "sqrtm s": theirs,
                "ratio": theirs / ours,
                "distance": value,
                "relative difference": (reference - value) / value,
            }
        )
    report("frechet", rows, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
