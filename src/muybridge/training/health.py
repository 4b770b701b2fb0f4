"""Whether a step may be believed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..core import files
from ..core.clips import Batch
from ..core.errors import RunError


def check_finite(facts: dict[str, Any], step: int, batch: Batch, folder: Path) -> None:
    """Stops the run when a loss or a gradient is not a number, before it reaches the weights.

    `facts` are those of the step, its "loss" and "gradient_norm" among them.

    Raises:
        RunError: names the step, the values and the clips, and where the last good weights are.
    """
    values = {name: float(facts[name]) for name in ("loss", "gradient_norm")}
    bad = {name: value for name, value in values.items() if not math.isfinite(value)}
    if not bad:
        return
    report = {"format": 1, "step": step, "values": {k: repr(v) for k, v in values.items()}}
    report |= {"clips": list(batch.names), "seeds": batch.seeds.tolist()}
    path = folder / f"nonfinite-{step:08d}.json"
    files.write_json(path, report)
    shown = ", ".join(batch.names[:4]) + (" ..." if len(batch.names) > 4 else "")
    raise RunError(
        f"step {step}: {', '.join(f'{name} is {value}' for name, value in bad.items())}; the "
        f"batch was {shown} (all of it in {path})",
        "the weights of the last checkpoint are untouched; lower training.optimizer.learning_rate "
        "and muon_rate, or set training.precision=fp32, and train into a new --out",
    )
