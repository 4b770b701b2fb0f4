"""The references' conventions against independent ones, and who may be called by their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

from muybridge.core import files
from muybridge.core.errors import MuybridgeError
from muybridge.evaluation import reference_features as features
from muybridge.evaluation.reference_features import Extractor
from muybridge.evaluation.references import PUBLISHED, Missing, Reference
from muybridge.models import inception, lpips

Picture = npt.NDArray[np.float64]  # (height, width), 0 to 255


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache but an empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("MUYBRIDGE_WEIGHTS", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)


class Spy(nn.Module):
    """Keeps what it is given, and gives a number for each class."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return x.flatten(1).mean(1, keepdim=True) + self.weight

    logits = forward


def whole(*shape: int) -> Tensor:
    """Clips of whole numbers 0 to 255, as they stand in [-1, 1]: smooth in part, noise in part."""
    draw = np.random.default_rng(0)
    noise = draw.uniform(0, 255, shape)
    smooth = ndimage.gaussian_filter(noise, 3, axes=(-1, -2)) * 6 - 640
    values = np.where(np.arange(shape[-1]) < shape[-1] // 2, smooth, noise)
    return torch.from_numpy(values.clip(0, 255).round()).float() / 127.5 - 1


def numbers(clips: Tensor) -> npt.NDArray[np.float64]:
    return np.rint((clips.double().numpy() + 1) * 127.5)


def clean(picture: Picture, side: int) -> Picture:
    """clean-fid: Pillow's bicubic on float, then clipped."""
    made = Image.fromarray(picture.astype(np.float32), mode="F")
    return np.asarray(made.resize((side, side), Image.Resampling.BICUBIC)).clip(0, 255)


def tf1(picture: Picture, side: int) -> Picture:
    """TensorFlow 1's ResizeBilinear, align_corners and half_pixel_centers false, by loops."""
    height, width = picture.shape
    made = np.zeros((side, side))
    for row in range(side):
        y = row * height / side
        top, bottom = int(y), min(int(y) + 1, height - 1)
        for column in range(side):
            x = column * width / side
            left, right = int(x), min(int(x) + 1, width - 1)
            above = picture[top, left] * (1 - x + left) + picture[top, right] * (x - left)
            below = picture[bottom, left] * (1 - x + left) + picture[bottom, right] * (x - left)
            made[row, column] = above * (1 - y + top) + below * (y - top)
    return made


def sampled(picture: Picture, rows: Picture, columns: Picture) -> Picture:
    """Bilinear at given places; those outside take the edge."""
    places = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(ndimage.map_coordinates(picture, places, order=1, mode="nearest"))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 90), (400, 320), (299, 299)])
@pytest.mark.parametrize(("resize", "by_hand"), [("clean", clean), ("tf1", tf1)])
def test_inceptions_pictures_are_the_references(
    height: int, width: int, resize: features.Resize, by_hand: Callable[[Picture, int], Picture]
) -> None:
    clips, spy = whole(1, 1, 3, height, width), Spy()
    features.fid_features(clips, spy, resize)
    seen = spy.seen[0]
    assert seen.shape == (1, 3, 299, 299)
    expected = by_hand(numbers(clips)[0, 0, 1], 299)
    assert np.abs(seen[0, 1].double().numpy() * 128 + 128 - expected).max() < 1e-4
    assert seen.min() >= -1
    assert seen.max() <= 127 / 128


def test_the_inception_score_resizes_as_tensorflow_1() -> None:
    clips, first, second = whole(1, 2, 3, 20, 30), Spy(), Spy()
    features.fid_features(clips, first, "tf1")
    features.inception_probabilities(clips, second)  # type: ignore[arg-type]
    assert torch.equal(first.seen[0], second.seen[0])
    with pytest.raises(ValueError, match="clean"):
        features.fid_features(clips, first, "bicubic")  # type: ignore[arg-type]


@pytest.mark.parametrize(("height", "width"), [(64, 80), (300, 260)])
def test_i3ds_clips_are_stretched_with_centres_aligned(height: int, width: int) -> None:
    clips, spy = whole(1, 10, 3, height, width), Spy()
    features.fvd_features(clips, spy)
    assert spy.seen[0].shape == (1, 3, 10, 224, 224)
    rows, columns = ((np.arange(224) + 0.5) * side / 224 - 0.5 for side in (height, width))
    expected = sampled(numbers(clips)[0, 7, 2], rows, columns) / 127.5 - 1
    assert np.abs(spy.seen[0][0, 2, 7].double().numpy() - expected).max() < 1e-4


def test_c3ds_clips_are_stretched_with_corners_aligned() -> None:
    clips, spy = whole(1, 16, 3, 64, 128), Spy()
    features.c3d_probabilities(clips, spy)
    assert spy.seen[0].shape == (1, 3, 16, 112, 112)
    expected = sampled(numbers(clips)[0, 9, 0], np.linspace(0, 63, 112), np.linspace(0, 127, 112))
    found = (spy.seen[0][0, 0, 9].double().numpy() + 1) * 127.5
    assert np.abs(found - expected).max() < 1e-2
    corners = np.ix_([0, -1], [0, -1])
    assert found[corners] == pytest.approx(numbers(clips)[0, 9, 0][corners], abs=1e-2)


def test_clips_are_rounded_to_uint8_first() -> None:
    clips = whole(1, 16, 3, 32, 32)
    shaken = clips + (torch.rand(clips.shape) - 0.5) * 0.007
    beyond = clips.clamp(-0.5, 0.5) * 3
    for extract in (features.fid_features, features.fvd_features, features.c3d_probabilities):
        one, two, three, four = Spy(), Spy(), Spy(), Spy()
        extract(clips, one)
        extract(shaken, two)
        assert torch.equal(one.seen[0], two.seen[0])
        extract(beyond, three)
        extract(beyond.clamp(-1, 1), four)
        assert torch.equal(three.seen[0], four.seen[0])


def test_probabilities_are_softmaxes() -> None:
    spy = Spy()
    with torch.no_grad():
        spy.weight.copy_(torch.tensor([0.0, 1.0, 2.0, 300.0]))
    for extract in (features.inception_probabilities, features.c3d_probabilities):
        made = extract(whole(2, 16, 3, 32, 32), spy)  # type: ignore[arg-type]
        assert made.dtype == np.float64
        assert np.allclose(made.sum(-1), 1, atol=1e-12)
        assert made[..., 3] == pytest.approx(1)
        assert np.allclose(np.log(made[..., 1] / made[..., 0]), 1, atol=1e-4)


def test_too_few_frames_are_refused_with_the_number_that_is_needed() -> None:
    with pytest.raises(MuybridgeError, match="10 frames or more, and the clips have 9"):
        features.fvd_features(whole(1, 9, 3, 32, 32), Spy())
    for count in (15, 17):
        with pytest.raises(MuybridgeError, match=f"16 frames, and these have {count}"):
            features.c3d_probabilities(whole(1, count, 3, 32, 32), Spy())


@pytest.mark.parametrize("shape", [(10, 3, 32, 32), (1, 10, 1, 32, 32), (0, 10, 3, 32, 32)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    for extract in (features.fid_features, features.fvd_features):
        with pytest.raises(ValueError, match=r"clips \(n, time, 3, height, width\) are wanted"):
            extract(torch.zeros(shape), Spy())


def test_values_that_are_not_finite_are_refused() -> None:
    clips = whole(1, 16, 3, 32, 32)
    clips[0, 3, 1, 5, 5] = torch.nan
    for extract in (features.fid_features, features.fvd_features, features.c3d_probabilities):
        with pytest.raises(ValueError, match="not finite"):
            extract(clips, Spy())


def test_lpips_is_of_pictures_or_of_frames() -> None:
    torch.manual_seed(0)
    network = lpips.network("vgg").eval()
    first, second = torch.rand(2, 2, 3, 3, 16, 16) * 2 - 1
    clips = features.lpips(first, second, network)
    assert clips.shape == (2, 3)
    pictures = features.lpips(first[:, 1], second[:, 1], network)
    assert np.array_equal(pictures, clips[:, 1])
    with torch.no_grad():
        assert pictures == pytest.approx(network(first[:, 1], second[:, 1]).numpy(), rel=1e-4)
    with pytest.raises(ValueError, match="one shape"):
        features.lpips(first, second[:, :2], network)
    with pytest.raises(ValueError, match="15 x 16 are too small"):
        features.lpips(first[..., 1:, :], second[..., 1:, :], network)


# --- the published networks, through the door that the published weights take -------------------


def own(name: str, folder: Path, **fields: Any) -> Reference:
    """A published reference with the hashes of what is in `folder` under the published names."""
    changed = [
        dataclasses.replace(file, sha256=files.digest(folder / file.names[0]))
        for file in PUBLISHED[name].files
    ]
    return dataclasses.replace(PUBLISHED[name], files=tuple(changed), **fields)


def the(extractor: Extractor | Missing) -> Extractor:
    assert isinstance(extractor, Extractor), extractor
    return extractor


def same(network: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(v, state[n]) for n, v in network.state_dict().items())


def test_fid_and_the_inception_score_with_weights_in_the_published_form(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = inception.network().state_dict()
    torch.save(state, tmp_path / "pt_inception-2015-12-05-6726825d.pth")
    reference = own("inception", tmp_path)
    fid = the(features.for_fid(tmp_path, reference=reference))
    assert same(fid.loaded.network, state)
    clips = whole(2, 2, 3, 40, 40)
    made = fid(clips)
    assert made.shape == (2, 2, 2048)
    assert made.dtype == np.float64
    # However clips are grouped, each has the same features to the bit.
    assert np.array_equal(np.concatenate([fid(clips[1:]), fid(clips[:1])])[::-1], made)
    assert fid.manifest["weights_sha256"] == reference.files[0].sha256
    tf = the(features.for_fid(tmp_path, "tf1", reference))
    assert tf.manifest["resize"] != fid.manifest["resize"]
    score = the(features.for_inception_score(tmp_path, reference))
    made = score(clips[:1, :1])
    assert made.shape == (1, 1, 1008)
    assert made.sum() == pytest.approx(1)


@pytest.mark.filterwarnings(
    "ignore:`torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning"
)
def test_fvd_with_weights_in_the_published_form(tmp_path: Path) -> None:
    """An archive of all of I3D's parameters, whose own computation is that of the first layer."""
    network = PUBLISHED["i3d"].network().eval()
    clip = torch.rand(1, 3, 4, 32, 32)
    state = network.state_dict()
    full, network.forward = network.forward, network.get_submodule("conv3d_1a_7x7").forward
    archive = torch.jit.trace(network, clip, check_trace=False)
    archive.save(str(tmp_path / "i3d_torchscript.pt"))

    def outputs(archive: Any, made: nn.Module) -> tuple[Tensor, Tensor]:
        return archive(clip), made.get_submodule("conv3d_1a_7x7")(clip)

    reference = own("i3d", tmp_path, outputs=outputs)
    fvd = the(features.for_fvd(tmp_path, reference))
    assert same(fvd.loaded.network, state)
    clips = whole(1, 10, 3, 16, 20)
    made = fvd(clips)
    assert made.shape == (1, 400)
    spy = Spy()
    features.fvd_features(clips, spy)
    with torch.no_grad():
        assert made == pytest.approx(full(spy.seen[0]).numpy(), abs=1e-5)


def test_the_videos_inception_score_with_weights_in_the_published_form(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = PUBLISHED["c3d"].network().state_dict()
    draw = torch.Generator().manual_seed(0)
    state = {n: (torch.rand(v.shape, generator=draw) - 0.5) / 50 for n, v in shapes.items()}
    named = {n.replace(".weight", "/W").replace(".bias", "/b"): v for n, v in state.items()}
    np.savez(tmp_path / "mean2.npz", mean=named.pop("mean").numpy())
    np.savez(tmp_path / "conv3d_deepnetA_ucf.npz", **{n: v.numpy() for n, v in named.items()})
    score = the(features.for_video_inception_score(tmp_path, own("c3d", tmp_path)))
    assert same(score.loaded.network, state)
    made = score(whole(1, 16, 3, 20, 20))
    assert made.shape == (1, 101)
    assert made.sum() == pytest.approx(1)


@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_lpips_with_weights_in_the_published_form(tmp_path: Path, backbone: str) -> None:
    published = PUBLISHED[f"lpips-{backbone}"]
    state = published.network().state_dict()
    layers = {n: v for n, v in state.items() if n.startswith("features.")}
    # The classifier that torchvision publishes with it, in little.
    torch.save(
        layers | {"classifier.1.bias": torch.ones(9)}, tmp_path / published.files[0].names[0]
    )
    heads = {f"lin{i}.model.1.weight": state[f"heads.{i}"] for i in range(5)}
    torch.save(heads, tmp_path / f"{backbone}.pth")
    reference = own(f"lpips-{backbone}", tmp_path)
    found = the(features.for_lpips(backbone, tmp_path, reference))  # type: ignore[arg-type]
    assert same(found.loaded.network, state)
    assert found.manifest["weights"] == f"{published.files[0].names[0]} + {backbone}.pth"
    assert found.manifest["weights_sha256"] == " + ".join(f.sha256 for f in reference.files)
    clips = whole(1, 2, 3, 32, 32)
    assert found(clips, clips).tolist() == [[0, 0]]


def test_only_the_published_weights_may_give_a_score_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"weight": torch.ones(4)}, tmp_path / "pt_inception-2015-12-05-6726825d.pth")
    mine = own("inception", tmp_path, network=Spy)
    found = the(features.for_fid(tmp_path, reference=mine))
    assert found.name == f"FID by other weights ({mine.files[0].sha256[:8]})"
    assert found.named("KID") == f"KID by other weights ({mine.files[0].sha256[:8]})"
    # The published hash over another network is no better.
    posing = dataclasses.replace(found.loaded, reference=dataclasses.replace(
        PUBLISHED["inception"], network=Spy))  # fmt: skip
    assert dataclasses.replace(found, loaded=posing).name != "FID"
    monkeypatch.setattr(features, "PUBLISHED", {"inception": mine})
    assert found.name == "FID"
    assert found.named("KID") == "KID"


def test_what_is_missing_is_told_by_the_scores_name(tmp_path: Path) -> None:
    made: dict[str, Extractor | Missing] = {
        "FID": features.for_fid(),
        "IS": features.for_inception_score(),
        "FVD": features.for_fvd(),
        "IS (C3D)": features.for_video_inception_score(),
        "LPIPS": features.for_lpips("vgg"),
    }
    for score, found in made.items():
        assert isinstance(found, Missing)
        assert found.name == score
    missing = made["FID"]
    assert isinstance(missing, Missing)
    assert "pt_inception-2015-12-05-6726825d.pth" in missing.why
    assert PUBLISHED["inception"].files[0].sha256 in missing.hint


def test_a_wrong_file_stops_one_score_unless_it_was_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "cache/muybridge/weights"
    folder.mkdir(parents=True)
    (folder / "i3d_torchscript.pt").write_bytes(b"another network")
    found = features.for_fvd()
    assert isinstance(found, Missing)
    assert PUBLISHED["i3d"].files[0].sha256 in found.why
    with pytest.raises(MuybridgeError, match="is not the published"):
        features.for_fvd(folder)
    with pytest.raises(MuybridgeError, match="are not on this machine"):
        features.for_fid(folder)
