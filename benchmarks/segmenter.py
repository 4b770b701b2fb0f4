"""How well things of the stage are told from their background, by training and without.

    python benchmarks/segmenter.py [--steps 400] [--clips 24]

Intersection over union with the true masks, of clips that training never draws.
"""

from __future__ import annotations

import argparse
import time

from common import report

from muybridge.core.errors import DataError
from muybridge.data.stage import MOTIONS
from muybridge.generation import foreground
from muybridge.generation.segmenter import kept_clips, overlap, train


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--clips", type=int, default=24)
    args = parser.parse_args()
    began = time.perf_counter()
    made = train(args.steps)
    took = time.perf_counter() - began
    rows = []
    for motion in MOTIONS:
        clips = kept_clips(motion, args.clips)
        own = [overlap(made.foreground(frames), real) for frames, real in clips]
        other, refused = [], 0
        for frames, real in clips:
            try:
                other.append(overlap(foreground.foreground(frames), real))
            except DataError:
                refused += 1
        rows.append({
            "motion": motion, "segmenter": sum(own) / len(own), "least": min(own),
            "background model": sum(other) / max(1, len(other)), "of which refused": refused,
        })  # fmt: skip
    report("segmenter", rows, steps=args.steps, clips=args.clips, training_seconds=round(took, 1))


if __name__ == "__main__":
    main()
