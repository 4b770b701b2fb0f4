"""Flow matching at 128 x 128: over pixels, and over the latents of a tokenizer trained first.

    python benchmarks/latent.py --out FOLDER --minutes 10

Both for the same minutes, the tokenizer's counted, on the stage at 128 pixels. A latent has two
rows and columns more to a token, so that both networks see clips whole.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import yaml
from common import report

import muybridge as mb
from muybridge.compare import compare
from muybridge.core import files
from muybridge.recipe import SHIPPED

SAMPLES = 128
OWN = {"flow-small": {}, "flow-latent": {"model": {"patch": [1, 2, 2]}}}


def recipe(name: str, own: dict[str, dict[str, object]], out: Path) -> str:
    """A recipe that ships, at 128 x 128, as a file."""
    tree = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))
    tree["data"]["size"] = [128, 128]
    for section, values in own.items():
        tree[section] |= values
    path = out / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return str(path)


def main() -> None:
    """Trains and judges what is not there yet, then shows all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    dataset = args.out / "dataset"
    if not (dataset / "dataset.json").exists():
        mb.make_stage(args.out / "footage", 800, size=(128, 128), seed=2)
        config = mb.Recipe.load("flow-small").prepare
        config = config.with_values(size=(128, 128), ratios=(0.7, 0.1, 0.2))
        mb.prepare(args.out / "footage", dataset, config=config)
    names = [recipe(name, own, args.out) for name, own in OWN.items()]
    found = compare(dataset, names, args.minutes, args.out, (f"evaluation.samples={SAMPLES}",))
    rows = []
    for run in found.runs:
        judged = files.read_json(run / "scores.json")
        scores = {score["name"]: score for score in judged["scores"]}
        lines: list[dict[str, float]] = []
        files.each_line(run / "log.jsonl", lines.append)
        rates = [line["clips_per_second"] for line in lines if "clips_per_second" in line]
        distances = {
            f"{name} / floor": scores[f"{name} distance"]["value"]
            / scores[f"{name} distance"]["floor"]
            for name in ("appearance", "motion")
        }
        rate, steps = statistics.median(rates), int(judged["checkpoint"][5:])
        rows.append({"recipe": run.name, "clips/s": rate, "steps": steps, **distances})
    report("latent", rows, minutes=args.minutes)


if __name__ == "__main__":
    main()
