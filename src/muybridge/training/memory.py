"""When memory does not suffice: fewer clips at once, of the same batch."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ..core.errors import RunError
from ..core.progress import say

T = TypeVar("T")


@dataclass
class Micro:
    """How many clips are propagated at once, at most; None for all that there are.

    Attributes:
        settled: it cannot become fewer, since all ranks must go through layers equally often.
    """

    most: int | None = None
    settled: bool = False

    def state(self) -> dict[str, Tensor]:
        """What the next update depends on."""
        return {} if self.most is None else {"most": torch.tensor(self.most)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave."""
        self.most = int(state["most"]) if state else None


def fitting(micro: Micro, clips: int, compute: Callable[[int], T]) -> T:
    """Calls `compute` with a number of clips at once that memory suffices for.

    Where it does not, half as many are tried, and it stays so. A batch is the same however it is
    cut, but for rounding and for dropout: all other chance comes from the clips' own seeds.

    Args:
        micro: the number so far; lowered.
        clips: how many there are, or may be propagated at once.
        compute: may be begun anew after it was broken off.

    Raises:
        RunError: memory does not suffice for one clip.
    """
    while True:
        size = min(micro.most or clips, clips)
        try:
            return compute(size)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if micro.settled:
                raise RunError(
                    f"memory does not suffice for {size} clips at once on a process",
                    f"--set training.micro_batch={max(1, size // 2)}",
                ) from error
            if size == 1:
                raise RunError(
                    "memory does not suffice for one clip",
                    "take a smaller model.size, fewer data.frames or a smaller data.size, or set "
                    "model.recompute=true where there is such a setting",
                ) from error
        # Outside of the handler, whose traceback holds on to what did not fit.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        micro.most = size // 2
        say(
            f"out of memory with {size} clips at once: {micro.most} from now on, of the same "
            f"batch (training.micro_batch={micro.most} says so from the beginning)"
        )


@contextlib.contextmanager
def judging() -> Iterator[None]:
    """Within, clips are judged and samples made; where memory does not suffice, it says so."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        raise RunError(
            "memory does not suffice to judge held-out clips, or to make samples",
            "lower evaluation.held_out, clips judged at once, and training.micro_batch, samples "
            "made at once",
        ) from error


def _out_of_memory(error: BaseException) -> bool:
    """Whether an error says so: on a GPU by its type, on a CPU by its words alone."""
    words = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "not enough memory" in words
        or "can't allocate memory" in words
    )
