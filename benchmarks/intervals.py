"""How often 95 % intervals cover what they are intervals of, and how often equal systems differ.

    python benchmarks/intervals.py [--simulations 2000] [--only WORD]

Each row draws its clips anew in every simulation. The target of a statistic of two sets is its mean
over all simulations and as many draws again. "usual" is the interval that is commonly given: plain
t without owners for means, value +- 1.96 errors for shares, value +- 1.96 bootstrap errors (of 50
draws) for statistics. Statistics with different clips left out are computed together and handed
to the package one by one; at the start of each row they are compared with its own functions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from common import report

from muybridge.evaluation.comparison import compare, compare_statistic
from muybridge.evaluation.frechet import frechet
from muybridge.evaluation.intervals import mean_interval, share_interval, statistic_interval
from muybridge.evaluation.kernel import kernel_distance
from muybridge.evaluation.manifest import Score
from muybridge.evaluation.manifold import manifold
from muybridge.evaluation.student import quantile

Array = Any
Draw = Callable[[np.random.Generator, int], Array]
Statistics = Callable[[Array, Array, Array, Array], Array]


# Clips: one number each, or features.


def log_normal(deviation: float) -> Draw:
    return lambda random, n: np.exp(deviation * random.standard_normal(n))


def gaussian(d: int, shift: float = 0.0, scale: float = 1.0) -> Draw:
    return lambda random, n: shift + scale * random.standard_normal((n, d))


def exponential(d: int, shift: float = 0.0, scale: float = 1.0) -> Draw:
    return lambda random, n: shift + scale * random.exponential(1, (n, d))


def heavy(d: int, shift: float = 0.0) -> Draw:
    """Correlated features whose clips differ in size log-normally, by half."""
    mixed = np.random.default_rng(0).standard_normal((d, d)) / d**0.5

    def draw(random: np.random.Generator, n: int) -> Array:
        size = np.exp(0.5 * random.standard_normal((n, 1)))
        return shift + (random.standard_normal((n, d)) * size) @ mixed

    return draw


def windows(draw: Draw, each: int) -> Draw:
    """`each` clips of one owner after another, half of their variance in common."""
    return lambda random, n: (
        (draw(random, n) + np.repeat(draw(random, n // each), each, axis=0)) * 0.5**0.5
    )


# Statistics of weighted clips: generated (n, d), real (m, d), how often each clip counts (k, n) and
# (k, m); k values. What is left out counts 0.


def all_frechet(a: Array, b: Array, of_a: Array, of_b: Array) -> Array:
    (x, first), (y, second) = _moments(a, of_a), _moments(b, of_b)
    terms = np.square(x - y).sum(1)
    if min(of_a.sum(1).min(), of_b.sum(1).min()) > a.shape[1] + 1:
        terms += np.trace(first + second, axis1=1, axis2=2)
        lower = np.linalg.cholesky(first)
        table = lower.swapaxes(1, 2) @ second @ lower
    else:
        rows, others = _rows(a, of_a, x), _rows(b, of_b, y)
        terms += np.square(rows).sum((1, 2)) + np.square(others).sum((1, 2))
        table = rows @ others.swapaxes(1, 2)
        table = table @ table.swapaxes(1, 2)
    return np.asarray(terms - 2 * np.sqrt(np.linalg.eigvalsh(table).clip(0)).sum(1))


def _moments(x: Array, weights: Array) -> tuple[Array, Array]:
    count = weights.sum(1)
    mean = weights @ x / count[:, None]
    if len(x) <= x.shape[1]:
        return mean, None
    products = (x[:, :, None] * x[:, None]).reshape(len(x), -1)
    scatter = (weights @ products).reshape(len(weights), x.shape[1], -1)
    scatter -= count[:, None, None] * mean[:, :, None] * mean[:, None]
    return mean, scatter / (count - 1)[:, None, None]


def _rows(x: Array, weights: Array, mean: Array) -> Array:
    return (x - mean[:, None]) * np.sqrt(weights / (weights.sum(1) - 1)[:, None])[:, :, None]


def all_kernel(a: Array, b: Array, of_a: Array, of_b: Array) -> Array:
    n, m = of_a.sum(1), of_b.sum(1)
    aa, bb, ab = (((x @ y.T) / x.shape[1] + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    within = ((of_a @ aa * of_a).sum(1) - of_a @ np.diag(aa)) / n / (n - 1)
    within += ((of_b @ bb * of_b).sum(1) - of_b @ np.diag(bb)) / m / (m - 1)
    return np.asarray(within - 2 * (of_a @ ab * of_b).sum(1) / n / m)


def all_manifold(a: Array, b: Array, of_a: Array, of_b: Array, k: int = 5) -> Array:
    """(4, k): precision, recall, density, coverage."""
    reach, real_reach = _reach(a, of_a, k), _reach(b, of_b, k)
    squares = np.square(a[:, None] - b).sum(-1)
    pair = (of_a[:, :, None] * of_b[:, None]) > 0
    in_real = pair & (squares <= real_reach[:, None])
    in_made = pair & (squares <= reach[:, :, None])
    n, m = of_a.sum(1), of_b.sum(1)
    shares = in_real.any(2).sum(1) / n, in_made.any(1).sum(1) / m
    return np.array([*shares, in_real.sum((1, 2)) / k / n, in_real.any(1).sum(1) / m])


def _reach(x: Array, weights: Array, k: int) -> Array:
    own = np.square(x[:, None] - x).sum(-1)
    sets, which = np.unique(weights, axis=0, return_inverse=True)
    tables = np.where(sets[:, None] > 0, own, np.inf)
    return np.partition(tables, k, axis=2)[which.ravel(), :, k]


def whole_manifold(a: Array, b: Array) -> list[float]:
    found = manifold(a, b)
    return [found.precision, found.recall, found.density, found.coverage]


STATISTICS: dict[str, tuple[Statistics, Callable[[Array, Array], Any], list[str], list[str]]] = {
    "Frechet": (all_frechet, frechet, ["Frechet"], ["distance"]),
    "kernel": (all_kernel, kernel_distance, ["kernel"], ["signed"]),
    "manifold": (
        all_manifold,
        whole_manifold,
        ["precision", "recall", "density", "coverage"],
        ["share", "share", "distance", "share"],
    ),
}


# Rows.


def row(what: str, clips: str, ends: Array, usual: Array | None, target: Any) -> dict[str, Any]:
    low, high = np.asarray(ends).T
    out = {
        "interval of": what,
        "clips": clips,
        "covers %": 100 * float(((low <= target) & (target <= high)).mean()),
        "too high %": 100 * float((low > target).mean()),
        "too low %": 100 * float((high < target).mean()),
        "median width": float(np.median(high - low)),
        "usual covers %": "not run",
    }
    out["within 92 to 98"] = bool(92 <= out["covers %"] <= 98)
    if usual is not None:
        low, high = np.asarray(usual).T
        out["usual covers %"] = 100 * float(((low <= target) & (target <= high)).mean())
    return out


def means(random: np.random.Generator, simulations: int) -> Iterator[dict[str, Any]]:
    normal = lambda random, n: random.standard_normal(n)  # noqa: E731
    cases: list[tuple[str, Draw, int, float, Array | None]] = []
    for n in (8, 20):
        cases += [
            (f"{n} normal", normal, n, 0.0, None),
            (f"{n} exponential", lambda random, n: random.exponential(1, n), n, 1.0, None),
            (f"{n} log-normal, deviation 0.5", log_normal(0.5), n, np.exp(0.125), None),
            (f"{n} log-normal, deviation 1", log_normal(1), n, np.exp(0.5), None),
            (f"{n} of t with 3 degrees", lambda random, n: random.standard_t(3, n), n, 0.0, None),
        ]
    even = np.repeat(np.arange(8), 4)
    uneven = np.repeat(np.arange(12), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])
    cases.append(("32 normal, 8 owners of 4", windows(normal, 4), 32, 0.0, even))

    def alike(random: np.random.Generator, n: int) -> Array:
        return log_normal(0.5)(random, 12)[uneven] * np.exp(0.3 * random.standard_normal(n))

    cases.append(("42 log-normal, 12 owners of 1 to 6", alike, 42, float(np.exp(0.17)), uneven))
    for clips, draw, n, target, owners in cases:
        drawn = [draw(random, n) for _ in range(simulations)]
        half = [quantile(n - 1) * x.std(ddof=1) / n**0.5 for x in drawn]
        usual = [(x.mean() - h, x.mean() + h) for x, h in zip(drawn, half, strict=True)]
        yield row("mean", clips, [mean_interval(x, owners) for x in drawn], usual, target)


def shares(random: np.random.Generator, simulations: int) -> Iterator[dict[str, Any]]:
    for n, p in ((20, 0.1), (20, 0.5), (50, 0.1), (50, 0.3), (128, 0.03), (128, 0.9)):
        hits = random.binomial(n, p, simulations)
        usual = [usual_share(h / n, n) for h in hits]
        yield row("share", f"{n}, {p:g}", [share_interval(int(h), n) for h in hits], usual, p)
    for count, each, p in ((16, 8, 0.3), (16, 8, 0.9), (12, 4, 0.5)):
        owners = np.repeat(np.arange(count), each)
        # Beta-distributed shares of owners: a third of the variance is between them.
        of_owner = random.beta(2 * p, 2 * (1 - p), (simulations, count))
        drawn = random.random((simulations, count * each)) < of_owner[:, owners]
        usual = [usual_share(h.mean(), len(h)) for h in drawn]
        ends = [share_interval(h, owners=owners) for h in drawn]
        yield row("share", f"{count} owners of {each}, {p:g}", ends, usual, p)


def usual_share(share: float, n: int) -> tuple[float, float]:
    half = 1.96 * (share * (1 - share) / n) ** 0.5
    return share - half, share + half


def statistics() -> Iterator[tuple[str, str, Draw, Draw, int, int]]:
    """Name, what the clips are, generated, real, how many of each, windows an owner."""
    for n in (32, 64, 128):
        yield "Frechet", "Gaussian, equal", gaussian(8), gaussian(8), n, 1
        yield "Frechet", "Gaussian, shifted 0.5", gaussian(8, 0.5), gaussian(8), n, 1
        yield "Frechet", "exponential, wider", exponential(8, 0.5, 1.3), exponential(8), n, 1
        yield "Frechet", "heavy tails, shifted 0.5", heavy(8, 0.5), heavy(8), n, 1
    yield "Frechet", "heavy tails, equal", heavy(8), heavy(8), 64, 1
    yield "Frechet", "Gaussian, shifted 0.5", gaussian(8, 0.5), windows(gaussian(8), 4), 96, 4
    yield "Frechet", "Gaussian, equal", gaussian(64), gaussian(64), 32, 1
    yield "Frechet", "exponential, wider", exponential(64, 0.3, 1.3), exponential(64), 32, 1
    yield "Frechet", "heavy tails, shifted 0.3", heavy(64, 0.3), heavy(64), 32, 1
    yield "Frechet", "Gaussian, shifted 0.3", gaussian(64, 0.3), gaussian(64), 64, 1
    yield "Frechet", "exponential, wider", exponential(64, 0.3, 1.3), exponential(64), 128, 1
    for n in (32, 128):
        yield "kernel", "Gaussian, equal", gaussian(8), gaussian(8), n, 1
        yield "kernel", "Gaussian, shifted 0.5", gaussian(8, 0.5), gaussian(8), n, 1
        yield "kernel", "exponential, wider", exponential(8, 0.5, 1.3), exponential(8), n, 1
    yield "kernel", "heavy tails, shifted 0.5", heavy(8, 0.5), heavy(8), 64, 1
    yield "kernel", "Gaussian, equal", gaussian(64), gaussian(64), 64, 1
    yield "manifold", "Gaussian, equal", gaussian(8), gaussian(8), 64, 1
    yield "manifold", "Gaussian, shifted 0.7", gaussian(8, 0.7), gaussian(8), 32, 1
    yield "manifold", "Gaussian, shifted 0.7", gaussian(8, 0.7), gaussian(8), 128, 1


def statistic_rows(
    random: np.random.Generator, simulations: int, case: tuple[str, str, Draw, Draw, int, int]
) -> Iterator[dict[str, Any]]:
    name, clips, of_generated, of_real, n, each = case
    together, whole, names, kinds = STATISTICS[name]
    owners = np.arange(n) // each if each > 1 else None
    left_out = asked(lambda of: statistic_interval(of, np.arange(n), np.arange(n), None, owners))
    d = of_real(random, each).shape[1]
    usual_too = name != "manifold" and each == 1 and d < 64
    values, targets, usual = [], [], []
    for number in range(simulations):
        a, b = of_generated(random, n), of_real(random, n)
        values.append(np.atleast_2d(together(a, b, *left_out)))
        if number == 0:
            assert np.allclose(values[0][:, 0], whole(a, b), rtol=1e-6), name
        if usual_too:
            again = random.multinomial(n, np.full(n, 1 / n), (2, 50)).astype(float)
            usual.append(1.96 * together(a, b, *again).std(ddof=1))
        every = np.ones((2, 1, n))
        fresh = together(of_generated(random, n), of_real(random, n), *every)
        targets.append(np.atleast_2d(fresh)[:, 0])
    found, told = np.array(values), f"{n} and {n}, {d} features: {clips}"
    told += f", {each} windows an owner" * (each > 1)
    for i, (what, kind) in enumerate(zip(names, kinds, strict=True)):
        ends = []
        for some in found[:, i]:
            ready = iter(some)
            estimate = statistic_interval(
                lambda *_, ready=ready: float(next(ready)),
                np.arange(n), np.arange(n), None, owners, kind=kind,
            )  # fmt: skip
            ends.append(estimate.interval)
        target = float(np.mean([*found[:, i, 0], *np.array(targets)[:, i]]))
        first = found[:, i, 0]
        plain = np.stack([first - usual, first + usual], 1) if usual else None
        yield row(what, told, ends, plain, target)


def asked(interval: Callable[[Callable[[Array, Array], float]], Any]) -> tuple[Array, Array]:
    """Which clips count each time a statistic is asked for: 1 or 0, (times, n) on each side."""
    sets: list[tuple[Array, Array]] = []

    def record(i: Array, k: Array) -> float:
        sets.append((i, k))
        return float(len(sets))

    interval(record)
    out = []
    for side in zip(*sets, strict=True):
        out.append(np.zeros((len(sets), 1 + max(kept.max() for kept in side))))
        for weights, kept in zip(out[-1], side, strict=True):
            weights[kept] = 1
    return out[0], out[1]


def wrongly_told(random: np.random.Generator, simulations: int) -> Iterator[dict[str, Any]]:
    """How often equal systems, and unequal ones, are told apart at p < 0.05."""

    def score(values: Array, **more: Any) -> Score:
        value = float(np.mean(values))
        facts = {"names_digest": "a"}
        return Score("s", value, more.get("better", "lower"), facts, target=more.get("target"),
                     values=tuple(values))  # fmt: skip

    def pairs(draw: Draw, n: int, shift: float, **more: Any) -> float:
        told = 0
        for seed in range(simulations):
            common = random.standard_normal(n)
            a, b = (score(common + draw(random, n) + s, **more) for s in (shift, 0.0))
            told += compare([a], [b], seed=seed).rows[0].verdict != "not told apart"
        return 100 * told / simulations

    near = {"better": "near", "target": 1.0}
    for shift in (0.0, 0.7):
        for name, n, more in (("12 pairs", 12, {}), ("40 pairs", 40, {}), ("40 near", 40, near)):
            told = pairs(log_normal(0.5), n, shift, **more)
            yield {"comparison": f"means, {name}", "apart by": shift, "told apart %": told}
    every = np.arange(64)
    left_out = asked(lambda of: compare_statistic("f", of, every, every + 64, every))
    for shift in (0.0, 0.3):
        told = 0
        for _ in range(simulations):
            a = np.concatenate([gaussian(8, 0.5 + shift)(random, 64), gaussian(8, 0.5)(random, 64)])
            ready = iter(all_frechet(a, gaussian(8)(random, 64), *left_out))
            found = compare_statistic(
                "f", lambda *_, ready=ready: float(next(ready)), every, every + 64, every
            )
            told += found.verdict != "not told apart"
        yield {
            "comparison": "Frechet, 64 and 64 clips, 8 features, not paired", "apart by": shift,
            "told apart %": 100 * told / simulations,
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--only", default="", help="rows whose first word begins so; not written")
    arguments = parser.parse_args()
    random, count, rows = np.random.default_rng(1872), arguments.simulations, []
    begun = time.process_time()
    kinds = [means(random, count), shares(random, count)]
    kinds += [
        statistic_rows(random, count, case)
        for case in statistics()
        if case[0].startswith(arguments.only)
    ]
    for found in (row for kind in kinds for row in kind):
        print(f"{time.process_time() - begun:.0f} s", list(found.values()), flush=True)
        rows.append(found)
    if arguments.only:
        return
    told = []
    for found in wrongly_told(random, count):
        print(list(found.values()), flush=True)
        told.append(found)
    report("intervals", rows, simulations=count, comparisons=told,
           cpu_seconds=round(time.process_time() - begun))  # fmt: skip


if __name__ == "__main__":
    main()
