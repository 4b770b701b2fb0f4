"""What is given of clips, as a network takes it: pixels that stay, and pictures that guide.

Known pixels enter clean, in the place of noise, and are told apart by a mask; what guides (a
sketch, a small or damaged video) enters in channels beside the clip. No loss is on what is known,
and in sampling it is put back at each step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.clips import GUIDES, Batch
from ..core.errors import RecipeError
from .base import SampleRequest


@dataclass(frozen=True)
class Given:
    """What is given of clips.

    Attributes:
        known: standardised clips, right where `mask` is 1, (batch, time, 3, height, width).
        mask: (batch, time, 1, height, width), 1 and 0.
        beside: the mask and what guides, (batch, time, channels, height, width).
    """

    known: Tensor
    mask: Tensor
    beside: Tensor

    def into(self, clips: Tensor) -> Tensor:
        """Standardised clips with what is known in its place."""
        return torch.where(self.mask > 0, self.known, clips)

    def tokens(self, patch: tuple[int, int, int]) -> Tensor:
        """Which patches are known wholly, bool (batch, t, h, w)."""
        return -F.max_pool3d(-self.mask[:, :, 0], patch) > 0

    def alone(self, guides: tuple[str, ...]) -> Given:
        """What is known, without what guides; `guides` as `read` was given them."""
        beside = torch.zeros_like(self.beside)
        if "known" in guides:
            beside[:, :, _place(guides, "known")] = self.mask[:, :, 0]
        return Given(self.known, self.mask, beside)

    def rows(self, places: Tensor) -> Given:
        """Of some of the clips."""
        return Given(self.known[places], self.mask[places], self.beside[places])

    def twice(self) -> Given:
        """Twice as many: these and these again."""
        both = (torch.cat([one, one]) for one in (self.known, self.mask, self.beside))
        return Given(*both)


def _place(guides: tuple[str, ...], name: str) -> int:
    """The first channel of one of the guides."""
    return sum(GUIDES[one] for one in guides[: guides.index(name)])


def read(
    of: Batch | SampleRequest, guides: tuple[str, ...], mean: Tensor, std: Tensor
) -> Given | None:
    """What is given of a batch or a request; None where nothing is.

    Args:
        of: the clips.
        guides: what the network looks at, of `core.clips.GUIDES`.
        mean, std: of pixels, (3, 1, 1).

    Raises:
        RecipeError: something is given that the network was not made for.
    """
    there = dict(of.guides or {})
    if of.known_mask is not None and (not guides or bool(of.known_mask.any())):
        there["known"] = of.known_mask
    wrong = sorted(name for name in there if name not in guides and bool(there[name].any()))
    if wrong:
        raise RecipeError(
            f"{', '.join(wrong)}: given, but the model was not trained to look at it",
            f"it looks at {', '.join(guides) or 'nothing'}: see data.tasks of the recipe",
        )
    there = {name: value for name, value in there.items() if name in guides}
    if not there:
        return None
    if "video" in there:
        pixels, seen = there["video"][:, :, :3], there["video"][:, :, 3:]
        there["video"] = torch.cat([seen * (pixels - mean) / std, seen], 2)
    form = next(iter(there.values()))
    nothing = form.new_zeros(*form.shape[:2], 1, *form.shape[-2:])
    parts = [
        there[name] if name in there else nothing.expand(-1, -1, GUIDES[name], -1, -1)
        for name in guides
    ]
    mask = there.get("known", nothing)
    known = nothing if of.known is None else (of.known - mean) / std
    return Given(known.expand(-1, -1, 3, -1, -1), mask, torch.cat(parts, 2))
