"""I3D against the parameters of its published port, and TensorFlow's "SAME" padding.

Names and channels are written down from hassony2/kinetics_i3d_pytorch (`src/i3dpt.py`), of which
`i3d_torchscript.pt` is the compiled form; channels as in DeepMind's `i3d.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from muybridge.models import i3d

STEM = {"conv3d_1a_7x7": (64, 3, 7), "conv3d_2b_1x1": (64, 64, 1), "conv3d_2c_3x3": (192, 64, 3)}
# Inputs, then the six widths: branch_0; branch_1.0, .1; branch_2.0, .1; branch_3.1.
BLOCKS = {
    "mixed_3b": (192, 64, 96, 128, 16, 32, 32), "mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "mixed_4b": (480, 192, 96, 208, 16, 48, 64), "mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "mixed_4d": (512, 128, 128, 256, 24, 64, 64), "mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "mixed_4f": (528, 256, 160, 320, 32, 128, 128), "mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}  # fmt: skip


def published() -> dict[str, tuple[int, ...]]:
    units = dict(STEM)
    for name, (i, a, b, c, d, e, f) in BLOCKS.items():
        units |= {
            f"{name}.branch_0": (a, i, 1),
            f"{name}.branch_1.0": (b, i, 1), f"{name}.branch_1.1": (c, b, 3),
            f"{name}.branch_2.0": (d, i, 1), f"{name}.branch_2.1": (e, d, 3),
            f"{name}.branch_3.1": (f, i, 1),
        }  # fmt: skip
    made: dict[str, tuple[int, ...]] = {
        "conv3d_0c_1x1.conv3d.weight": (400, 1024, 1, 1, 1),
        "conv3d_0c_1x1.conv3d.bias": (400,),
    }
    for name, (outputs, inputs, side) in units.items():
        made[f"{name}.conv3d.weight"] = (outputs, inputs, side, side, side)
        for part in ("weight", "bias", "running_mean", "running_var"):
            made[f"{name}.batch3d.{part}"] = (outputs,)
    return made


def test_names_and_shapes_are_the_published_ones() -> None:
    with torch.device("meta"):
        state = i3d.network().state_dict()
    assert {n: tuple(v.shape) for n, v in state.items() if "num_batches" not in n} == published()


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [  # tensorflow.org, "Notes on padding": total (ceil(size / stride) - 1) stride + kernel - size
        (16, 7, 2, 2, 3), (15, 7, 2, 3, 3), (224, 7, 2, 2, 3), (112, 3, 2, 0, 1),
        (7, 3, 2, 1, 1), (8, 2, 2, 0, 0), (7, 2, 2, 0, 1), (5, 1, 2, 0, 0), (14, 3, 1, 1, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_padding_is_tensorflows_same(
    size: int, kernel: int, stride: int, before: int, after: int, axis: int
) -> None:
    sides, kernels, strides = [2, 2, 2], [1, 1, 1], [1, 1, 1]
    sides[axis], kernels[axis], strides[axis] = size, kernel, stride
    made = i3d._pad(torch.ones(1, 1, *sides), tuple(kernels), tuple(strides))  # type: ignore[arg-type]
    line = made[0, 0].movedim(axis, 0)[:, 0, 0].numpy()
    assert np.array_equal(line, np.pad(np.ones(size), (before, after)))


def test_a_clip_makes_400_scores_whose_places_in_space_and_time_shrink_as_published() -> None:
    torch.manual_seed(0)
    network = i3d.network().eval()
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("conv3d_1a_7x7", "mixed_3c", "mixed_4f", "mixed_5c", "conv3d_0c_1x1"):
        network.get_submodule(name).register_forward_hook(
            lambda _, __, made, name=name: shapes.update({name: tuple(made.shape[1:])})
        )
    with torch.no_grad():
        made = network(torch.rand(1, 3, 18, 224, 224) * 2 - 1)
    # Carreira and Zisserman, figure 3: strides 2; 1, 2, 2; 1, 2, 2; 2; 2. 18 frames: 9, 5, 3.
    assert shapes == {
        "conv3d_1a_7x7": (64, 9, 112, 112), "mixed_3c": (480, 9, 28, 28),
        "mixed_4f": (832, 5, 14, 14), "mixed_5c": (1024, 3, 7, 7), "conv3d_0c_1x1": (400, 2, 1, 1),
    }  # fmt: skip
    assert made.shape == (1, 400)
    assert made.isfinite().all()
