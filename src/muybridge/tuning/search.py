"""Searches settings of a recipe: many short trainings, of which bad ones end early.

Optuna chooses (Akiba et al. 2019); each trial is a run folder like any other, and the study a
journal beside them, so that several processes can share it and a killed one loses nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..assembly import assemble, settle
from ..core import chance, config, files
from ..core.errors import MuybridgeError, RecipeError, RunError
from ..core.progress import say
from ..data.store import Dataset
from ..recipe import Recipe
from .space import Space

if TYPE_CHECKING:
    import optuna

JOURNAL, BEST, STUDY = "journal.log", "best.yaml", "study.json"
# What may change between the calls of a search.
_FREE = tuple(
    f"recipe.{name} "
    for name in ("name", "data.folder", "training.loggers", "training.save_seconds",
                 "training.log_every", "training.previews", "training.keep")
)  # fmt: skip
_FEWEST = 4
"""Trials before any is ended early, and before the sampler leaves chance."""


@dataclass(frozen=True)
class Trial:
    """One that was made: its values, its least held-out loss, seconds, and how it ended."""

    number: int
    values: Mapping[str, Any]
    loss: float | None
    seconds: float
    state: str


@dataclass(frozen=True)
class Study:
    """What came of a search.

    Attributes:
        trials: all, the first of which is the recipe as it is.
        best: the one of least held-out loss.
        own: whether the first trial is the recipe as it is; it is none where the recipe lies
            outside of the space.
        recipe: the best recipe's file, ready for `muybridge train`.
        importance: share of the differences that each setting explains, where that can be told.
    """

    trials: tuple[Trial, ...]
    best: Trial
    own: bool
    recipe: Path
    importance: Mapping[str, float]


def tune(
    recipe: Recipe, space: Space, trials: int, minutes: float, out: Path, prune: bool = True
) -> Study:
    """Searches, or goes on searching.

    Args:
        recipe: with its dataset; it is the first trial as it is.
        space: what is searched.
        trials: how many in all, over all processes and calls.
        minutes: budget of each.
        out: folder, with a run folder a trial, `journal.log` and `best.yaml`.
        prune: whether trials that are worse than most at the same share of their budget end there.

    Raises:
        MuybridgeError: Optuna is not installed, or the space has settings that the recipe has not;
            told before anything is trained.
    """
    recipe = recipe.with_(minutes=minutes)
    for name, one in space.items():
        settle(recipe.with_(_change(name, one.some)), None)
    study = _study(out, prune)
    _same_study(recipe, space, out)
    own = {name: _value(recipe, name) for name in space}
    held = all(space[name].holds(value) for name, value in own.items())
    while True:
        with _claimed(study, trials, out, recipe.seed, own if held else None) as trial:
            if trial is None:
                break
            _tried(study, trial, recipe, space, out)
    return _summary(study, recipe, out, held)


def _same_study(recipe: Recipe, space: Space, out: Path) -> None:
    """Losses of other clips, budgets or settings do not compare: a folder is of one study.

    Raises:
        RunError: it is of another one.
    """
    clips = Dataset.open(recipe.data.folder).facts["digest"]
    ranges = {name: one.model_dump(mode="json") for name, one in space.items()}
    facts = {"format": 1, "recipe": recipe.tree(), "clips": clips, "space": ranges}
    facts = json.loads(json.dumps(facts))  # as it is read
    with _alone(out):
        if not (out / STUDY).exists():
            files.write_json(out / STUDY, facts)
        known = files.read_json(out / STUDY, "study")
    lines = config.differences(known, facts)
    there = [line for line in lines if not line.startswith(_FREE)]
    if there:
        raise RunError(
            f"--out {out} holds a study of other settings: {'; '.join(there[:4])}",
            "give another --out for a new study, or the old settings to go on with this one",
        )


def _study(out: Path, prune: bool) -> optuna.Study:
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise MuybridgeError(
            "tuning needs Optuna, which is not installed", "pip install 'muybridge[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    out.mkdir(parents=True, exist_ok=True)
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if prune:
        pruner = optuna.pruners.PercentilePruner(50.0, _FEWEST, n_warmup_steps=1)
    return optuna.create_study(
        study_name="muybridge",
        storage=JournalStorage(JournalFileBackend(str(out / JOURNAL))),
        pruner=pruner,
        load_if_exists=True,
    )


@contextlib.contextmanager
def _claimed(
    study: optuna.Study, trials: int, out: Path, seed: int, own: Mapping[str, Any] | None
) -> Iterator[optuna.Trial | None]:
    """A trial that a killed process left, or a new one, which no other process takes; None where
    there are enough. The first has the recipe's `own` values."""
    from optuna.samplers import TPESampler
    from optuna.trial import Trial as Asked
    from optuna.trial import TrialState

    with contextlib.ExitStack() as claim:
        with _alone(out):
            if own is not None and not study.get_trials(deepcopy=False):
                study.enqueue_trial(dict(own))
            known = study.get_trials(deepcopy=False)
            # A draw of its own for each trial, whichever process makes it.
            drawn = chance.mix(seed, "trial", len(known)) % 2**32
            study.sampler = TPESampler(n_startup_trials=_FEWEST, seed=drawn, multivariate=True)
            for one in known:
                if one.state == TrialState.RUNNING:
                    with contextlib.suppress(MuybridgeError):  # another process is at it
                        claim.enter_context(files.locked(_claim(out, one.number), "trial"))
                        say(f"trial {one.number}: going on")
                        left: optuna.Trial | None = Asked(study, one._trial_id)
                        break
            else:
                begun = sum(one.state != TrialState.WAITING for one in known)
                left = study.ask() if begun < trials else None
                if left is not None:
                    claim.enter_context(files.locked(_claim(out, left.number), "trial"))
        yield left


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Within, no other process takes a trial; waits for the one that does."""
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(files.locked(out, "study"))
                break
            except MuybridgeError:
                time.sleep(0.05)
        yield


def _tried(
    study: optuna.Study, trial: optuna.Trial, recipe: Recipe, space: Space, out: Path
) -> None:
    import optuna

    values = {name: one.draw(trial, name) for name, one in space.items()}
    say(f"trial {trial.number}: {', '.join(f'{n}={_shown(v)}' for n, v in values.items())}")
    folder = _folder(out, trial.number)

    def judged(figures: Mapping[str, Any]) -> None:
        mark = int(figures["progress"] * recipe.training.validations)
        if not mark:
            return  # nothing is learned yet: it tells of fresh weights, not of these settings
        with warnings.catch_warnings():
            # A mark that a killed process reported keeps what it had then.
            warnings.simplefilter("ignore", UserWarning)
            trial.report(min(_least(folder), float(figures["loss"])), mark)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        changed = recipe.with_(*(_change(name, value) for name, value in values.items()))
        assemble(changed, folder).train(judged)
    except optuna.TrialPruned:
        say(f"trial {trial.number}: ended early at {_least(folder):.4g}")
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except (RunError, RecipeError) as error:  # of these settings; of the disk, say, it is raised
        say(f"trial {trial.number}: {error.message}")
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, _least(folder))


def _least(folder: Path) -> float:
    """The least held-out loss of a run's trained weights so far."""
    losses = [math.inf]

    def take(line: Mapping[str, Any]) -> None:
        if line.get("kind") == "validation" and line["step"]:
            losses.append(float(line["loss"]))

    files.each_line(folder / "log.jsonl", take)
    return min(losses)


def _summary(study: optuna.Study, recipe: Recipe, out: Path, own: bool) -> Study:
    import optuna

    done = [_trial(one) for one in study.get_trials(deepcopy=False) if one.state.is_finished()]
    whole = [one for one in done if one.state == "complete"]
    if not whole:
        raise MuybridgeError("no trial came to its end", "raise --trials, or mend the recipe")
    best = min(whole, key=lambda one: one.loss if one.loss is not None else float("inf"))
    chosen = recipe.with_(*(_change(name, value) for name, value in best.values.items()))
    tree = chosen.tree() | {"name": f"{recipe.name}-tuned"}
    files.write_text(out / BEST, yaml.safe_dump(tree, sort_keys=False))
    importance: dict[str, float] = {}
    with contextlib.suppress(Exception):  # it cannot be told of few trials, or of equal ones
        judge = optuna.importance.PedAnovaImportanceEvaluator()
        importance = dict(optuna.importance.get_param_importances(study, evaluator=judge))
    return Study(tuple(done), best, own, out / BEST, importance)


def _trial(one: optuna.trial.FrozenTrial) -> Trial:
    ended, begun = one.datetime_complete, one.datetime_start
    seconds = (ended - begun).total_seconds() if ended and begun else 0.0
    loss = one.value if one.state.name == "COMPLETE" else None
    return Trial(one.number, dict(one.params), loss, seconds, one.state.name.lower())


def _folder(out: Path, number: int) -> Path:
    return out / f"trial-{number:04d}"


def _claim(out: Path, number: int) -> Path:
    return out / "claims" / f"{number:04d}"


def _value(recipe: Recipe, name: str) -> Any:
    value: Any = recipe.tree()
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _change(name: str, value: Any) -> str:
    return f"{name}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
