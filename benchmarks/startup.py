"""How long `muybridge --help` takes beyond a bare interpreter.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from common import report

COMMANDS = {
    "bare interpreter": ["-c", "pass"],
    "muybridge --help": ["-m", "muybridge", "--help"],
    "import muybridge": ["-c", "import muybridge"],
    "import torch": ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> float:
    """Median of nine runs, the first of ten thrown away."""
    taken = []
    for _ in range(10):
        begun = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


def main() -> None:
    """Times each command."""
    times = {name: seconds(arguments) for name, arguments in COMMANDS.items()}
    bare = times["bare interpreter"]
    report(
        "startup",
        [{"command": n, "seconds": t, "more than bare": t - bare} for n, t in times.items()],
    )


if __name__ == "__main__":
    main()
