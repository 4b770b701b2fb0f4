"""What a run was trained to be given; what it was not is refused, with what it can do."""

from __future__ import annotations

from collections.abc import Callable

from ..core.errors import MuybridgeError
from ..data.tasks import Config
from ..run import Run
from .asked import Asked

# What is asked for, of which of `data.tasks` it needs some, and what that is to a reader.
_NEEDS: dict[str, tuple[Callable[[Config], float], str, str]] = {
    "image": (lambda t: t.image or (t.prefix and t.vary), "image", "begin with a picture"),
    "last_image": (lambda t: t.ends, "ends", "lead to a picture"),
    "storyboard": (lambda t: t.some, "some", "pass through given pictures"),
    "prefix": (lambda t: t.prefix, "prefix", "go on from given frames"),
    "between": (lambda t: t.ends, "ends", "join given frames"),
    "loop": (lambda t: t.ends, "ends", "join given frames"),
    "sketch": (lambda t: t.sketch, "sketch", "follow drawings"),
    "mask": (lambda t: t.region, "region", "fill a region"),
    "outpaint": (lambda t: t.region, "region", "fill a region"),
    "upscale": (lambda t: t.video, "video", "mend a video"),
    "denoise": (lambda t: t.video, "video", "mend a video"),
    "colourise": (lambda t: t.video, "video", "mend a video"),
    "interpolate": (lambda t: t.some, "some", "make frames in between"),
}  # fmt: skip


def continues(run: Run) -> bool:
    """Whether the model goes on from any frames that it looks at, and so fills window by window."""
    return "known" in getattr(run.recipe.model.config, "guides", ())


def takes(run: Run) -> list[str]:
    """The options, beside those of sampling, that mean something to a run."""
    tasks, said = run.recipe.data.tasks, run.conditions
    found = ["text"] if said["captioned"] else []
    found += ["label"] if said["labels"] else []
    plain = [] if continues(run) else ["prefix"]
    wanted = _NEEDS if continues(run) else {n: _NEEDS[n] for n in (*plain, "sketch") if n in _NEEDS}
    found += [name for name, (share, _, _) in wanted.items() if share(tasks)]
    return [*found, *(["strength"] if _flows(run) else [])]


def check(run: Run, asked: Asked) -> None:
    """Refuses what a run was not trained for.

    Raises:
        MuybridgeError: naming what it can do.
    """
    able = takes(run)
    for name, (_, task, does) in _NEEDS.items():
        value = getattr(asked, name)
        if value and name not in able:
            raise _refused(
                run, name, value, f"was not trained to {does} (data.tasks.{task} = 0)", able
            )
    if asked.background and run.recipe.data.tasks.prefix and not continues(run):
        raise _refused(run, "background", asked.background, "makes its own clips alone", able)
    if asked.extend and not continues(run):
        raise _refused(run, "extend", asked.extend, "does not make video window by window", able)
    if asked.strength is not None and "strength" not in able:
        kind = run.recipe.objective.kind
        why = f"cannot begin from a noised video (its objective is {kind}"
        of = ", over latents)" if run.recipe.tokenizer is not None else ")"
        raise _refused(run, "strength", asked.strength, why + of, able)
    if asked.picture_guidance != 1 and not _flows(run):
        raise _refused(
            run, "picture_guidance", asked.picture_guidance, "is sampled without guidance", able
        )
    video = (
        "background",
        "strength",
        "mask",
        "outpaint",
        "upscale",
        "denoise",
        "colourise",
        "interpolate",
    )
    if asked.video and not asked.loop and not any(getattr(asked, name) for name in video):
        those = [option(name) for name in (*video, "loop") if name in (*able, "background")]
        raise MuybridgeError(
            f"{option('video')} {asked.video}: nothing says what is to be done with it",
            f"add one of {', '.join(those)}; to go on from it, give it as --prefix",
        )


def option(name: str) -> str:
    """A setting as it is called on the command line."""
    return "--" + name.replace("_", "-")


def _flows(run: Run) -> bool:
    return run.recipe.objective.kind == "flow_matching" and run.recipe.tokenizer is None


def _refused(run: Run, name: str, value: object, why: str, able: list[str]) -> MuybridgeError:
    shown = "" if value is True else f" {value}"
    listed = ", ".join(option(one) for one in able) or "nothing but --count and --seed"
    return MuybridgeError(
        f"{option(name)}{shown}: {run.folder} {why}",
        f"it takes {listed}; a model that takes all is trained by the recipe flow-any",
    )
