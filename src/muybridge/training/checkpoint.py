"""Checkpoints: safetensors and JSON, whole or absent, checked by hash before they are believed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..core import files
from ..core.errors import MuybridgeError, RunError
from ..core.progress import say

FORMAT = 2
Parts = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Position:
    """Where a run stands: updates done, seconds of its budget spent, the share of the budget that
    its weights have seen, and the share up to which it was judged and shown."""

    step: int = 0
    seconds: float = 0.0
    progress: float = 1.0
    looked: float = 1.0


def folder_of(run: Path) -> Path:
    """Where a run's checkpoints lie."""
    return run / "checkpoints"


def save(run: Path, name: str, position: Position, parts: Parts) -> Path:
    """Writes a checkpoint folder: a safetensors file a part, and `state.json` with their hashes."""
    target = folder_of(run) / name
    with files.atomic(target) as folder:
        folder.mkdir()
        hashes = {}
        for part, tensors in parts.items():
            path = folder / f"{part}.safetensors"
            plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
            try:
                save_file(plain, path)
            except SafetensorError as error:
                raise _as_os_error(error) from error
            hashes[part] = files.digest(path)
        state = {"format": FORMAT, **asdict(position), "sha256": hashes}
        # Of itself as well: a step that is another one would be believed.
        files.write_json(folder / "state.json", state | {"digest": files.digest_of(state)})
    return target


def _as_os_error(error: SafetensorError) -> OSError:
    """Safetensors reports a full disk as text; the number in it lets `disk_errors` know it."""
    import errno
    import re

    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number.group(1)) if number else errno.EIO, str(error))


def load(path: Path, parts: tuple[str, ...]) -> tuple[Position, dict[str, dict[str, Tensor]]]:
    """Reads parts of a checkpoint.

    Raises:
        RunError: a part is absent, damaged, or not what was written there.
    """
    hint = "choose another with --checkpoint, or remove this folder and train again as before"
    state = files.read_json(path / "state.json", "checkpoint")
    if state.get("format") != FORMAT:
        raise RunError(
            f"checkpoint {path} has format {state.get('format')}, this version reads {FORMAT}", hint
        )
    written = state.pop("digest", "")
    if written != files.digest_of(state):
        raise RunError(f"checkpoint {path / 'state.json'} is damaged: it is not as written", hint)
    found = {}
    for part in parts:
        file = path / f"{part}.safetensors"
        if not file.is_file():
            raise RunError(f"checkpoint {path} lacks {file.name}", hint)
        try:
            same = files.digest(file) == state["sha256"].get(part)
        except OSError as error:
            raise RunError(f"checkpoint {file} cannot be read: {error}", hint) from error
        if not same:
            raise RunError(
                f"checkpoint {file} is damaged: its SHA-256 is not the one written beside it", hint
            )
        found[part] = load_file(file)
    shares = (float(state.get(name, 1.0)) for name in ("progress", "looked"))
    return Position(int(state["step"]), float(state["seconds"]), *shares), found


def newest(run: Path) -> list[Path]:
    """Numbered checkpoints, the last first."""
    return sorted(folder_of(run).glob("step-[0-9]*"), reverse=True)


def resume(
    run: Path, parts: tuple[str, ...]
) -> tuple[Position, dict[str, dict[str, Tensor]]] | None:
    """The last checkpoint that is whole, or None where there is none; damaged ones are said."""
    files.sweep(folder_of(run))
    found = newest(run)
    for path in found:
        try:
            return load(path, parts)
        except MuybridgeError as error:
            say(f"passing over {path.name}: {error}")
    if found:
        raise RunError(
            f"no checkpoint of {run} can be read",
            f"restore one, or remove {folder_of(run)} to begin anew",
        )
    return None


@dataclass(frozen=True)
class Best:
    """The best weights so far: where in training, and the figure they were chosen by."""

    step: int = 0
    seconds: float = 0.0
    value: float = math.inf


def best(run: Path) -> Best:
    """What was best so far; an infinite value before there is any."""
    path = run / "best.json"
    if not path.exists():
        return Best()
    found = files.read_json(path, "best checkpoint")
    return Best(int(found["step"]), float(found.get("seconds", 0.0)), float(found["loss"]))


def save_best(run: Path, position: Position, value: float, average: Mapping[str, Tensor]) -> None:
    """Keeps averaged weights as the best so far."""
    save(run, f"best-{position.step:08d}", position, {"average": average})
    facts = {"format": 1, "step": position.step, "seconds": position.seconds, "loss": value}
    files.write_json(run / "best.json", facts)


def best_folder(run: Path) -> Path | None:
    """The folder of the best weights so far, or None."""
    path = folder_of(run) / f"best-{best(run).step:08d}"
    return path if (run / "best.json").exists() and path.is_dir() else None


def rotate(run: Path, keep: int, step: int) -> None:
    """Removes all but the last `keep` checkpoints up to `step`, and all best ones but the best.

    Numbered ones beyond `step` are damaged ones that `resume` passed over; they go too.
    """
    known = newest(run)
    good = [path for path in known if path.name <= f"step-{step:08d}"]
    beaten = [p for p in folder_of(run).glob("best-[0-9]*") if p != best_folder(run)]
    for path in [p for p in known if p not in good] + good[keep:] + beaten:
        files.remove(path)


def find(run: Path, name: str) -> Path:
    """The folder of the checkpoint called `name`: "last", "best" or a step's number.

    Raises:
        RunError: there is none of that name; the message says which there are.
    """
    known = newest(run)
    chosen = best_folder(run)
    if name == "last" and known:
        return known[0]
    if name == "best" and chosen:
        return chosen
    wanted = f"step-{int(name):08d}" if name.isdigit() else name
    for path in known:
        if path.name == wanted:
            return path
    there = [path.name for path in folder_of(run).glob("[!.]*")] if folder_of(run).is_dir() else []
    raise RunError(
        f"--checkpoint {name}: {run} has {', '.join(sorted(there)) or 'no checkpoint yet'}",
        "name one of these, last, or best" if there else "train it first",
    )


def put(weights: dict[str, Tensor], module: nn.Module, path: Path) -> None:
    """Gives a module its weights, read from the checkpoint at `path`; buffers may be lacking.

    Raises:
        RunError: they are not those of such a module.
    """
    try:
        left = module.load_state_dict(weights, strict=False)
        lacking = {name for name, _ in module.named_parameters()} & set(left.missing_keys)
        wrong = sorted(lacking) + left.unexpected_keys
    except RuntimeError as error:  # of other shapes
        wrong = [str(error).splitlines()[-1].strip()]
    if wrong:
        raise RunError(
            f"checkpoint {path} does not fit the network: {', '.join(wrong)[:200]}",
            "was it trained by another version, or the file of the model changed since?",
        )
