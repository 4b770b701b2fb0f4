"""What the benchmarks share: the machine's name, tables, results as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from muybridge.core import device

RESULTS = Path(__file__).parent / "results"
SHARED = Path(__file__).parents[2] / "shared"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    found = device.examine()
    return {
        "processor": found.processor,
        "cores": found.cores,
        "amx": found.amx,
        "gpu": found.gpu,
        "bf16_tflops": round(found.bf16_rate, 2),
        "fp32_tflops": round(found.fp32_rate, 2),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def report(name: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Prints a table and writes it, with the machine, to `results/NAME.json`."""
    columns = list(rows[0])
    print(" | ".join(columns))
    print(" | ".join("---" for _ in columns))
    for row in rows:
        print(" | ".join(_shown(row[column]) for column in columns))
    for key, value in more.items():
        print(f"{key}: {value}")
    RESULTS.mkdir(exist_ok=True)
    content = {"format": 1, "machine": machine(), "rows": list(rows), **more}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
