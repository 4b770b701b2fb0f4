"""Where figures go beside `log.jsonl`: TensorBoard, Weights & Biases, trackio, MLflow.

The last three are the user's own tools, with the user's own accounts; nothing is sent anywhere
unless the recipe names one.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from ..core import files
from ..core.errors import RecipeError

Name = Literal["tensorboard", "wandb", "trackio", "mlflow"]
PROJECT = "muybridge"


class Logger(Protocol):
    """Takes numbers by name, step by step, and ends."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keeps values of a step, which may come again after a stop."""

    def close(self) -> None:
        """Sees to it that all is kept."""


def opened(names: tuple[Name, ...], folder: Path, step: int) -> list[Logger]:
    """Those of some names, for the run in `folder` that goes on from a step.

    Raises:
        RecipeError: one that is not installed.
    """
    made: dict[Name, type[Logger]] = {
        "tensorboard": TensorBoard, "wandb": Wandb, "trackio": Trackio, "mlflow": MLflow,
    }  # fmt: skip
    return [made[name](folder, step) for name in names]  # type: ignore[call-arg]


class TensorBoard:
    """Events in the run's own folder."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(
            str(folder / "tensorboard"), purge_step=step + 1 if step else 0
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A scalar each."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes."""
        self._writer.close()


class Wandb:
    """A run of Weights & Biases that goes on under the same number, called as the folder is.

    Its own steps may not go back, as they do after a kill; so ours are a figure, over which it is
    told to draw the others.
    """

    def __init__(self, folder: Path, step: int) -> None:
        wandb = _imported("wandb")
        known = folder / "wandb.json"
        number = files.read_json(known, "run of wandb")["id"] if known.exists() else None
        self._run = wandb.init(
            project=PROJECT, name=folder.resolve().name, id=number, resume="allow",
            dir=str(folder), config=_settings(folder),
        )  # fmt: skip
        if number is None:
            files.write_json(known, {"format": 1, "id": self._run.id})
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """All at once."""
        self._run.log({**values, "step": step})

    def close(self) -> None:
        """Waits until it is sent."""
        self._run.finish()


class Trackio:
    """A run of trackio, which keeps it on this machine; it goes on under its name."""

    def __init__(self, folder: Path, step: int) -> None:
        self._trackio = _imported("trackio")
        name = folder.resolve().name
        settings = _settings(folder)
        self._trackio.init(project=PROJECT, name=name, resume="allow", config=settings)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """All at once."""
        self._trackio.log({**values}, step=step)

    def close(self) -> None:
        """Waits until it is kept."""
        self._trackio.finish()


class MLflow:
    """A run of the experiment "muybridge", where `MLFLOW_TRACKING_URI` says."""

    def __init__(self, folder: Path, step: int) -> None:
        self._mlflow = _imported("mlflow")
        self._mlflow.set_experiment(PROJECT)
        known = folder / "mlflow.json"
        number = files.read_json(known, "run of MLflow")["id"] if known.exists() else None
        run = self._mlflow.start_run(run_id=number, run_name=folder.resolve().name)
        if number is None:
            files.write_json(known, {"format": 1, "id": run.info.run_id})
            # Longer values than that are refused by its servers.
            told = {name: str(value)[:500] for name, value in _settings(folder).items()}
            self._mlflow.log_params(told)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """All at once."""
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        """Ends it."""
        self._mlflow.end_run()


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RecipeError(
            f"training.loggers names {name}, which is not installed ({error})",
            f"pip install {name}, or leave it out",
        ) from error


def _settings(folder: Path) -> dict[str, Any]:
    """The run's recipe, by section.key."""
    import yaml

    path = folder / "recipe.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    flat: dict[str, Any] = {}
    for section, values in tree.items():
        inner = values.items() if isinstance(values, dict) else ()
        flat |= {f"{section}.{key}": value for key, value in inner}
        if not isinstance(values, dict):
            flat[section] = values
    return flat
