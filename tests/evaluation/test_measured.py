"""One pass over clips: what is kept does not depend on how they are read, nor on who reads them."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from muybridge.core.errors import MuybridgeError
from muybridge.evaluation import copying, distances, temporal
from muybridge.evaluation.clip_sets import CHUNK, ClipSet, of_tensor
from muybridge.evaluation.measured import Extractor, Measured, measure

Array = npt.NDArray[np.float64]
COUNT = 2 * CHUNK + 5
MOTION = Extractor("motion", distances.motion)
COLOURS = Extractor("colours", lambda clips: clips.mean((-2, -1)).numpy())  # (n, frames, 3)


def some(count: int = COUNT) -> ClipSet:
    random = torch.Generator().manual_seed(0)
    return of_tensor(torch.rand(count, 6, 3, 16, 16, generator=random) * 2 - 1, 8, "made")


def figures(clips: Tensor, begin: int, end: int) -> dict[str, Array]:
    """One figure a clip, and one a frame."""
    places = np.arange(begin, end, dtype=np.float64)
    return {"place": places, "brightness": clips.mean((2, 3, 4)).double().numpy()}


def test_what_is_kept_is_of_each_clip_alone() -> None:
    clips = some()
    every = clips.read(0, COUNT)
    found = measure(clips, [MOTION, COLOURS], [figures])
    assert found.features["motion"].dtype == np.float32
    for index in (0, CHUNK - 1, CHUNK, COUNT - 1):
        alone = every[index : index + 1]
        np.testing.assert_allclose(
            found.features["motion"][index], distances.motion(alone)[0], rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(
            found.features["colours"][index], alone.mean((-2, -1))[0], atol=1e-6
        )
        assert torch.equal(found.thumbnails[index], copying.thumbnails(alone)[0])
    assert found.features["colours"].shape == (COUNT, 6, 3)
    assert found.figures["place"].tolist() == list(range(COUNT))
    np.testing.assert_allclose(found.figures["brightness"], every.mean((2, 3, 4)), atol=1e-6)


def test_a_part_is_those_rows() -> None:
    clips = some()
    whole, part = measure(clips, [MOTION], [figures]), range(7, CHUNK + 9)
    found = measure(clips, [MOTION], [figures], part)
    assert found.figures["place"].tolist() == list(part)
    np.testing.assert_allclose(
        found.features["motion"], whole.features["motion"][7 : CHUNK + 9], rtol=1e-5, atol=1e-5
    )


def test_no_more_than_two_chunks_are_held_at_once() -> None:
    random, alive, most = torch.Generator().manual_seed(0), 0, 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def read(begin: int, end: int) -> Tensor:
        nonlocal alive, most
        clips = torch.rand(end - begin, 6, 3, 16, 16, generator=random)
        alive += 1
        most = max(most, alive)
        weakref.finalize(clips.untyped_storage(), gone)
        return clips

    clips = dataclasses.replace(some(6 * CHUNK), read=read)
    found = measure(clips, [MOTION, COLOURS], [figures])
    assert len(found) == 6 * CHUNK
    assert most <= 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_no_numbers_are_named_by_clip(value: float) -> None:
    clips = some()
    clips.read(0, COUNT)[CHUNK + 3, 2, 1, 5, 5] = value
    with pytest.raises(MuybridgeError, match=rf"made: made {CHUNK + 3} cannot be.*its pixels"):
        measure(clips, [MOTION])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39])  # the last beyond float32
def test_features_that_are_no_numbers_are_named_by_clip(value: float) -> None:
    def broken(clips: Tensor) -> Array:
        rows = distances.motion(clips)
        rows[clips[:, 0, 0, 0, 0].numpy() == 0.5, 3] = value
        return rows

    clips = some()
    clips.read(0, COUNT)[CHUNK + 1, 0, 0, 0, 0] = 0.5
    with (
        np.errstate(over="ignore"),
        pytest.raises(MuybridgeError, match=rf"made {CHUNK + 1} .*broken features"),
    ):
        measure(clips, [Extractor("broken", broken)])


def test_what_a_formula_cannot_do_is_told_with_the_clips_form() -> None:
    clips = of_tensor(torch.zeros(2, 3, 3, 16, 16), 8, "made")

    def gauge(frames: Tensor, begin: int, end: int) -> dict[str, Array]:
        return {"disorder": temporal.disorder(frames)}

    with pytest.raises(MuybridgeError, match=r"made: clips of 3 frames of 16x16 .* 4 frames") as e:
        measure(clips, [], [gauge])
    assert "--metrics" in e.value.hint


def test_no_clips_are_an_error() -> None:
    with pytest.raises(MuybridgeError, match="there are no clips"):
        measure(some(0), [MOTION])
    with pytest.raises(MuybridgeError, match="there are no clips"):
        measure(some(), [MOTION], part=range(3, 3))


def test_two_ranks_equal_one(tmp_path: Path, environment: dict[str, str]) -> None:
    counts = (8, COUNT)  # shares of 4 and 4, of 18 and 19
    script = textwrap.dedent(
        f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        import numpy as np, test_measured as t
        from muybridge.core import distributed
        from muybridge.evaluation.measured import measure, of_all_ranks
        distributed.start()
        for count in {counts}:
            clips = t.some(count)
            part = distributed.share(count)
            own = measure(clips, [t.MOTION, t.COLOURS], [t.figures], part)
            found = of_all_ranks(own)
            np.savez(sys.argv[1] + f"/{{count}}-{{distributed.rank()}}.npz", part=len(part),
                     thumbnails=found.thumbnails.numpy(), **found.features, **found.figures)
        """
    )
    (tmp_path / "worker.py").write_text(script)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "worker.py"), str(tmp_path)],
            env={**os.environ, **environment, **world, "RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    for count in counts:
        one, shares = measure(some(count), [MOTION, COLOURS], [figures]), []
        for rank in range(2):
            with np.load(tmp_path / f"{count}-{rank}.npz", allow_pickle=False) as two:
                shares.append(int(two["part"]))
                for name, rows in rows_of(one).items():
                    np.testing.assert_allclose(two[name], rows, rtol=1e-5, atol=1e-5)
        assert shares == [count // 2, count - count // 2]


def rows_of(measured: Measured) -> dict[str, npt.NDArray[np.floating[Any]]]:
    return {
        "thumbnails": measured.thumbnails.numpy(),
        **measured.features,
        **measured.figures,
    }
