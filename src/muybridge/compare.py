"""Several recipes on the same clips, for the same time, judged alike: which suits this footage."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .assembly import assemble, previous, settle
from .core import files
from .core.errors import Interrupted, MuybridgeError
from .core.progress import say
from .judge import evaluate
from .recipe import Recipe
from .report import write_report
from .run import Run
from .samples import asked_for

FAILED = "failed.txt"


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes:
        page: the leaderboard, with a wall of samples for each; None where none could be judged.
        runs: the folders of those that were judged.
        failed: what stopped the others, by recipe.
    """

    page: Path | None
    runs: tuple[Path, ...]
    failed: dict[str, str]


def compare(
    data: str | Path,
    recipes: Sequence[str],
    minutes: float,
    out: str | Path,
    changes: Sequence[str] = (),
) -> Comparison:
    """Trains each recipe for the same minutes on the same dataset, and judges it on the test split.

    Called again, it goes on where it was: what is trained and judged stays. A recipe that fails
    does not stop the others.

    Args:
        data: the dataset.
        recipes: names of recipes that ship, or paths of files.
        minutes: budget of each; a tokenizer that is trained first is counted in.
        out: folder, with a run folder for each recipe and `leaderboard.html`.
        changes: settings changed in all of them, `section.key=value`.

    Raises:
        MuybridgeError: a recipe is not one, or does not fit the dataset; told before training.
    """
    out, wanted = Path(out), [(Path(name).stem, name) for name in recipes]
    names = [stem for stem, _ in wanted]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise MuybridgeError(
            f"--recipes {','.join(recipes)}: {', '.join(twice) or 'nothing'} to be compared",
            "name each recipe once, as in --recipes flow-small,gan3d",
        )
    loaded = [Recipe.load(name, tuple(changes)) for _, name in wanted]
    # Of more clips a distance is smaller: all are judged by as many.
    most = max(recipe.evaluation.samples for recipe in loaded)
    loaded = [recipe.with_(f"evaluation.samples={most}") for recipe in loaded]
    for name, recipe in zip(names, loaded, strict=True):
        if getattr(recipe.model.config, "prior", recipe) is None:
            raise MuybridgeError(
                f"{name}: a tokenizer without a prior makes no clips", "compare vae instead"
            )
    given = [
        settle(recipe.with_(data=data, minutes=minutes), previous(out / name))
        for name, recipe in zip(names, loaded, strict=True)
    ]
    runs = [assemble(recipe, out / name) for name, recipe in zip(names, given, strict=True)]
    done: list[Path] = []
    failed, page = dict[str, str](), None
    for name, run in zip(names, runs, strict=True):
        try:
            _trained_and_judged(name, run, baselines=not done)
            done.append(run.folder)
            page = write_report(done, out / "leaderboard.html")
        except Interrupted:
            raise
        except MuybridgeError as error:
            failed[name] = str(error)
            say(f"{name}: {error}")
        except (
            Exception
        ) as error:  # one's own file, or memory: the others are compared all the same
            failed[name] = f"{type(error).__name__}: {error}"
            files.write_text(run.folder / FAILED, traceback.format_exc())
            say(f"{name}: {failed[name]}; all of it in {run.folder / FAILED}")
    return Comparison(page, tuple(done), failed)


def _trained_and_judged(name: str, run: Run, baselines: bool) -> None:
    """Trains what is left of the budget, and judges where the last checkpoint was not judged so;
    what costs nothing is judged beside one run, being the same beside all."""
    say(f"{name}: training")
    run.train()
    scores, config = run.folder / "scores.json", run.recipe.evaluation
    metrics = [one for one in config.metrics if baselines or one != "baselines"]
    wanted = asked_for(run, config.with_values(metrics=tuple(metrics)))
    if scores.exists() and files.read_json(scores).get("asked") == wanted:
        return
    say(f"{name}: judging")
    evaluate(run.folder, metrics=metrics)
