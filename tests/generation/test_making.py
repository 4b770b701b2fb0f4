"""What is asked for, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

import muybridge as mb
from muybridge.core import video
from muybridge.core.clips import GUIDES, to_float
from muybridge.core.config import parse
from muybridge.core.video import Frames
from muybridge.generation import filling, making, pictures
from muybridge.generation.asked import Asked
from muybridge.generation.canvas import Known, windows
from muybridge.generation.filling import fill, request
from muybridge.objectives.base import SampleRequest


def plan(run: mb.Run, **asked: Any) -> making.Plan:
    return making.plan(run, parse(Asked, asked, ""))


def requests(run: mb.Run, monkeypatch: pytest.MonkeyPatch, **asked: Any) -> list[SampleRequest]:
    """What the model is asked window by window, where it makes grey frames that grow lighter."""
    found: list[SampleRequest] = []

    def sample(self: mb.Run, objective: Any, request: SampleRequest, what: str = "") -> Tensor:
        found.append(request)
        made = torch.full(
            (len(request), request.times.shape[1], 3, *request.size), 0.1 * len(found)
        )
        if request.known is None or request.known_mask is None:
            return made
        return torch.where(request.known_mask > 0, request.known, made)

    monkeypatch.setattr(mb.Run, "sample", sample)
    it = plan(run, **asked)
    list(fill(run, None, it.canvas, it.base, it.windows))  # type: ignore[arg-type]
    return found


def picture(path: Path, frame: Frames) -> Path:
    video.write_video(frame[None], path.with_suffix(""), fps=8)
    (path.with_suffix("") / "00000.png").rename(path)
    return path


def read(film: Path) -> Tensor:
    return torch.from_numpy(to_float(video.read_video(film, fps=8)[0]))


def test_a_first_and_a_last_picture_come_back_as_they_are(
    run: mb.Run, frames: Frames, tmp_path: Path
) -> None:
    first, last = (picture(tmp_path / f"{n}.png", frames[n]) for n in (0, 9))
    made = run.generate(image=first, last_image=last, count=2)
    assert made.shape == (2, 8, 3, 32, 32)
    assert torch.equal(made[:, 0], torch.from_numpy(to_float(frames[0])).expand(2, -1, -1, -1))
    assert torch.equal(made[:, 7], torch.from_numpy(to_float(frames[9])).expand(2, -1, -1, -1))
    assert not torch.equal(made[0, 1:7], made[1, 1:7])


def test_a_video_is_gone_on_from_by_its_last_frames_or_kept_whole(run: mb.Run, film: Path) -> None:
    whole = read(film)
    made = run.generate(prefix=film)[0]
    assert len(made) == 8 and torch.equal(made[:4], whole[-4:])
    longer = run.generate(prefix=film, extend=2.0)[0]
    assert len(longer) == 12 + 16 and torch.equal(longer[:12], whole)


def test_two_videos_are_joined_by_a_passage(run: mb.Run, film: Path) -> None:
    whole = read(film)
    made = run.generate(between=(film, film), seconds=0.5)[0]
    assert len(made) == 12 + 4 + 12
    assert torch.equal(made[:12], whole) and torch.equal(made[-12:], whole)


def test_a_passage_is_made_between_what_is_on_both_sides(
    run: mb.Run, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = requests(run, monkeypatch, between=(film, film), seconds=0.5)
    assert one.known_mask is not None and one.known is not None
    assert one.known_mask[0, :, 0, 0, 0].tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
    whole = read(film)
    assert torch.equal(one.known[0, :2], whole[-2:]) and torch.equal(one.known[0, 6:], whole[:2])


def test_two_scenes_are_joined_by_what_goes_on_from_each(
    run: mb.Run, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = np.ascontiguousarray(255 - video.read_video(film, fps=8)[0][:, ::-1])
    coarse = np.random.default_rng(3).integers(0, 256, (4, 4, 3), np.uint8)
    other[:, :, 8:] = np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:, 8:]
    video.write_video(torch.from_numpy(to_float(other)), tmp_path / "other.mp4", 8)
    asked = {"between": (film, tmp_path / "other.mp4"), "seconds": 0.5}
    assert any("two scenes" in line for line in plan(run, **asked).done)
    found = requests(run, monkeypatch, **asked)
    masks = [one.known_mask[0, :, 0, 0, 0].tolist() for one in found if one.known_mask is not None]
    assert masks == [[1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 1]]


def test_each_window_begins_with_the_end_of_the_one_before(
    run: mb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = requests(run, monkeypatch, count=2, seconds=2.0)
    assert len(found) == 3 and found[0].known is None
    for place, one in enumerate(found[1:], 1):
        assert one.known is not None and one.known_mask is not None
        assert one.known_mask[0, :, 0, 0, 0].tolist() == [1] * 4 + [0] * 4
        assert one.known[:, :4].unique().tolist() == pytest.approx([0.1 * place])
        assert torch.equal(one.times, found[0].times)
        assert not torch.equal(one.seeds, found[0].seeds)


def test_a_loop_leads_to_its_first_frames(run: mb.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = requests(run, monkeypatch, count=1, seconds=3.0, loop=True)
    last = found[-1]
    assert last.known is not None and last.known_mask is not None
    assert last.known_mask[0, :, 0, 0, 0].tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
    assert last.known[0, 6:].unique().tolist() == pytest.approx([0.1])  # of the first window


def test_only_what_is_white_in_a_mask_is_made_anew(run: mb.Run, film: Path, tmp_path: Path) -> None:
    white = np.zeros((32, 32, 3), np.uint8)
    white[8:24, 4:20] = 255
    made = run.generate(video=film, mask=picture(tmp_path / "mask.png", white))[0]
    where = torch.from_numpy(white[..., 0] > 0)
    whole = read(film)
    assert len(made) == 12
    assert torch.equal(made[..., ~where], whole[..., ~where])
    assert float((made - whole)[..., where].abs().mean()) > 0.05


def test_a_border_is_made_around_a_smaller_picture(run: mb.Run, film: Path) -> None:
    made = run.generate(video=film, outpaint=0.25)[0]
    small = [cv2.resize(one, (16, 16), interpolation=cv2.INTER_AREA) for one in
             video.read_video(film, fps=8)[0]]  # fmt: skip
    assert torch.equal(made[..., 8:24, 8:24], torch.from_numpy(to_float(np.stack(small))))
    assert float(made[..., :8, :].min()) > -0.9  # and not the black that stands there before


def test_frames_are_made_between_those_of_a_video(run: mb.Run, film: Path) -> None:
    made = run.generate(video=film, interpolate=32)[0]
    assert len(made) == 4 * 11 + 1
    assert torch.equal(made[::4], read(film))
    assert plan(run, video=film, interpolate=32).canvas.fps == 32


@pytest.mark.parametrize("how", [{"upscale": 2}, {"denoise": True}, {"colourise": True}])
def test_a_video_that_is_mended_stands_beside_the_clip(
    how: dict[str, Any], run: mb.Run, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = requests(run, monkeypatch, video=film, **how)
    whole = read(film)
    for one, begin in zip(found, (0, 4), strict=True):
        assert one.guides is not None
        beside = one.guides["video"][0]
        assert bool((beside[:, 3] == 1).all())
        seen, real = beside[:, :3], whole[begin : begin + 8]
        if "colourise" in how:
            assert float((seen - seen.mean(1, keepdim=True)).abs().max()) < 1e-6
            assert float((seen.mean((2, 3)) - real.mean((2, 3))).abs().max()) > 0.1
        else:
            assert torch.equal(seen, real) == ("denoise" in how)
            assert float((seen - real).abs().mean()) < 0.2


@pytest.mark.parametrize("grey", [False, True])
def test_a_video_that_is_sharpened_is_the_small_one_when_it_is_made_small_again(
    grey: bool, run: mb.Run, film: Path
) -> None:
    made = run.generate(video=film, upscale=2, colourise=grey)[0]
    small, _ = pictures.frames(film, (16, 16), 8, "--video", 100)
    given, seen = torch.from_numpy(to_float(np.stack(small))), F.avg_pool2d(made, 2)
    if grey:
        luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
        given, seen = ((one * luma).sum(1) for one in (given, seen))
    assert float((seen - given).abs().mean()) < 0.01
    rough = run.generate(video=film, upscale=2, denoise=True)[0]  # what has noise is not kept
    assert float((F.avg_pool2d(rough, 2) - F.avg_pool2d(made, 2)).abs().mean()) > 0.02


def test_drawings_stand_beside_the_frames_they_are_of(
    run: mb.Run, frames: Frames, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet = np.full((64, 64, 3), 255, np.uint8)
    cv2.rectangle(sheet, (16, 16), (40, 40), (0, 0, 0), 2)
    (one,) = requests(run, monkeypatch, sketch=picture(tmp_path / "a.png", sheet))
    assert one.guides is not None
    drawn = one.guides["sketch"][0]
    assert drawn[0, 1].min() == 1 and not drawn[1:].any()
    assert set(drawn[0, 0].unique().tolist()) == {-1.0, 1.0}
    assert drawn[0, 0, 8, 8:20].min() == 1 and drawn[0, 0, 14, 14] == -1
    (all_of_it,) = requests(run, monkeypatch, sketch=film)
    assert all_of_it.guides is not None
    assert all_of_it.guides["sketch"][0, :, 1].min() == 1


def test_a_storyboard_has_its_words_pictures_and_cuts(
    run: mb.Run, frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "a.png", frames[5])
    moments = [
        {"at": 0, "text": "a red ball"},
        {"at": 1.5, "text": "a blue box", "cut": True, "image": "a.png"},
        {"at": 2.0, "text": "a green star"},
    ]
    board = tmp_path / "board.yaml"
    board.write_text(yaml.safe_dump(moments))
    found = requests(run, monkeypatch, storyboard=board, seconds=3.0)
    assert [one.text for one in found if one.text] == [
        ("a red ball",), ("a red ball",), ("a blue box",), ("a green star",), ("a green star",)
    ]  # fmt: skip
    cut = found[2]
    assert cut.known is not None and cut.known_mask is not None
    assert cut.known_mask[0, :, 0, 0, 0].tolist() == [1] + [0] * 7
    assert torch.equal(cut.known[0, 0], torch.from_numpy(to_float(frames[5])))
    assert found[1].known_mask is not None
    assert found[1].known_mask[0, :, 0, 0, 0].tolist() == [1] * 4 + [0] * 4


def test_without_words_an_edit_begins_at_the_noised_source(
    run: mb.Run, plain: mb.Run, film: Path
) -> None:
    """The less is gone through again, the nearer it stays; a network that predicts zero would go
    all the way to grey."""
    whole = read(film)
    for one in (run, plain):
        apart = [
            float((one.generate(video=film, strength=s, steps=8)[0] - whole)
                  .square().mean())
            for s in (0.02, 0.2, 0.9)
        ]  # fmt: skip
        assert apart[0] < apart[1] < apart[2]


def test_an_edit_by_words_changes_only_what_words_change(
    run: mb.Run, plain: mb.Run, film: Path
) -> None:
    """A network that pays no heed to them leaves all as it was; one that does makes what they
    say."""
    whole = read(film)
    for one in (run, plain):
        same = one.generate(video=film, strength=0.9, steps=4, text="a red ball")[0]
        torch.testing.assert_close(same, whole, atol=1e-5, rtol=0)
    objective, _ = plain.trained()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in objective.generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    made = []
    for text in ("a red ball", "a blue box", "a red ball"):
        it = plan(plain, video=film, strength=0.5, text=text, steps=4)
        assert it.windows is not None
        asked = request(it.canvas, it.base, it.windows[0], {}, 8)
        made.append(plain.sample(objective, asked))
        assert asked.source is not None
        assert float((made[-1] - asked.source).abs().mean()) > 1e-3
    assert torch.equal(made[0], made[2])
    assert float((made[0] - made[1]).abs().mean()) > 1e-4


def test_an_edited_clip_is_the_same_whatever_is_made_beside_it(plain: mb.Run, film: Path) -> None:
    objective, _ = plain.trained()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in objective.generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)

    def made(text: Any, count: int) -> Tensor:
        it = plan(plain, video=film, strength=0.5, text=text, steps=4, count=count)
        assert it.windows is not None
        asked = request(it.canvas, it.base, it.windows[0], {}, 8)
        return plain.sample(objective, asked)

    both = made(["", "a blue box"], 2)
    torch.testing.assert_close(both[:1], made("", 1), atol=1e-4, rtol=1e-4)
    assert float((both[0] - both[1]).abs().mean()) > 0.01


def test_what_guides_an_edit_is_not_taken_off_again(run: mb.Run, film: Path) -> None:
    """A network that draws what stands beside the clip, whatever is said, draws it in an edit."""
    objective, _ = run.trained()
    network: Any = objective.generator["network"]
    first = sum(GUIDES[n] for n in network.config.guides[: network.config.guides.index("video")])

    def drawn(x: Tensor, *told: Any, beside: Tensor, **more: Any) -> Tensor:
        return beside[:, :, first : first + 3] * 0.5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(network), "__call__", lambda self, *a, **k: drawn(*a, **k))
        it = plan(run, video=film, strength=0.5, text="a red ball", colourise=True, steps=4)
        assert it.windows is not None
        asked = request(it.canvas, it.base, it.windows[0], {}, 8)
        found = run.sample(objective, asked)
    assert asked.guides is not None and asked.source is not None
    assert float((found - asked.source).abs().mean()) > 0.05


def test_words_of_a_storyboard_are_checked_as_all_others_are(
    run: mb.Run, frames: Frames, tmp_path: Path
) -> None:
    board = tmp_path / "board.yaml"
    picture(tmp_path / "a.png", frames[5])
    moments: list[dict[str, Any]] = [{"at": 0, "text": "a zebra"}, {"at": 1, "text": "a red ball"}]
    board.write_text(yaml.safe_dump(moments))
    found = plan(run, storyboard=board)
    assert any("never heard" in line and "zebra" in line for line in found.done)
    assert found.base.guidance is None and found.canvas.files == []
    board.write_text(yaml.safe_dump([*moments, {"at": 1.5, "image": "a.png"}]))
    found = plan(run, storyboard=board)
    assert found.base.guidance == 1.0 and found.canvas.files == [tmp_path / "a.png"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(run.conditions, "captioned", False)
        with pytest.raises(mb.MuybridgeError, match="trained without captions"):
            plan(run, storyboard=board)


def test_guidance_by_pictures_goes_beyond_what_no_picture_gives(run: mb.Run, film: Path) -> None:
    it = plan(run, prefix=film, text="a red ball", guidance=2.0)
    objective, _ = run.trained()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in objective.generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    asked = request(it.canvas, it.base, it.windows[0], {}, 8)
    usual, strong, blind = (
        run.sample(objective, replace(asked, picture_guidance=scale, steps=1))
        for scale in (1.0, 1.5, 0.0)
    )
    assert torch.equal(usual[:, :4], strong[:, :4]) and torch.equal(usual[:, :4], blind[:, :4])
    assert float((strong - usual)[:, 4:].abs().mean()) > 1e-3
    # In one step the three lie on a line, as far as nothing is clamped.
    inner = (strong.abs() < 1) & (blind.abs() < 1) & (usual.abs() < 1)
    expected = usual + 0.5 * (usual - blind)
    torch.testing.assert_close(strong[inner], expected[inner], atol=1e-4, rtol=1e-3)


def test_clips_are_their_seeds_own_whatever_is_made_beside_them(run: mb.Run, film: Path) -> None:
    three = run.generate(prefix=film, seconds=2.0, count=3, seed=4)
    one = run.generate(prefix=film, seconds=2.0, count=1, seed=4)
    torch.testing.assert_close(three[:1], one)
    assert not torch.equal(three[0, 4:], three[1, 4:])


def refusals() -> Iterator[tuple[dict[str, Any], str, str]]:
    yield {"upscale": 2}, "upscale needs video", ""
    yield {"video": "V", "upscale": 3}, "2 or 4", ""
    yield {"video": "V"}, "nothing says what is to be done", "--strength"
    yield {"image": "V", "prefix": "V"}, "image and prefix exclude each other", ""
    yield {"video": "V", "strength": 1.5}, "strength = 1.5", "how far into noise"
    yield {"video": "V", "interpolate": 16, "upscale": 2}, "interpolate and upscale exclude", ""
    yield {"video": "V", "interpolate": 16, "loop": True}, "interpolate and loop exclude", ""
    yield {"video": "V", "background": "#00ff00", "denoise": True}, "background and denoise", ""
    yield {"video": "V", "outpaint": 0.2, "strength": 0.5}, "strength and outpaint exclude", ""
    yield {"image": "V", "video": "V", "mask": "BLACK"}, "image and video", ""
    yield {"video": "V", "interpolate": 64}, "8 times as many", "16"
    yield {"txt": "a"}, "txt is not a setting", "did you mean text"
    yield {"count": 0}, "count = 0", ""
    yield {"seconds": 0.01}, "no frame, at 8 a second", "0.125"
    yield {"video": "V", "interpolate": 8}, "2, 4 or 8 times", "16, 32 or 64"
    yield {"video": "V", "mask": "BLACK"}, "nowhere white", "paint white"
    yield {"prefix": "V", "seconds": 0.5}, "none is left to be made", "--seconds"
    yield {"image": "V"}, "no picture that can be read", "--prefix"
    yield {"label": "dog"}, "unknown", ""
    yield {"loop": True, "seconds": 0.5}, "a loop of 4 frames", "1 s or longer"


@pytest.mark.parametrize(("asked", "message", "hint"), list(refusals()))
def test_what_cannot_be_is_refused_before_anything_is_made(
    asked: dict[str, Any], message: str, hint: str, run: mb.Run, film: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    black = picture(tmp_path / "black.png", np.zeros((32, 32, 3), np.uint8))
    files = {"V": film, "BLACK": black}
    monkeypatch.setattr(mb.Run, "trained", lambda *_: pytest.fail("weights were loaded"))
    settings = {n: files.get(v, v) if isinstance(v, str) else v for n, v in asked.items()}
    with pytest.raises(mb.MuybridgeError) as caught:
        run.generate(**settings)
    assert message in caught.value.message and hint in caught.value.hint


@pytest.mark.parametrize(
    ("asked", "task"),
    [
        ({"image": "V"}, "image"), ({"last_image": "V"}, "ends"), ({"prefix": "V"}, "prefix"),
        ({"sketch": "V"}, "sketch"), ({"video": "V", "upscale": 2}, "video"),
        ({"video": "V", "mask": "V"}, "region"), ({"video": "V", "interpolate": 16}, "some"),
        ({"loop": True}, "ends"), ({"between": ("V", "V")}, "ends"),
    ],
)  # fmt: skip
def test_what_a_run_was_not_trained_for_is_told_with_what_it_takes(
    asked: dict[str, Any], task: str, plain: mb.Run
) -> None:
    with pytest.raises(mb.MuybridgeError, match=rf"data\.tasks\.{task} = 0") as caught:
        plain.generate(**asked)
    assert "it takes --text, --strength" in caught.value.hint
    assert "flow-any" in caught.value.hint


def test_words_never_heard_and_too_many_are_told(run: mb.Run) -> None:
    assert plan(run, text="a red ball").done == ()
    (said,) = plan(run, text="a zebra plays Chess").done
    assert "chess, plays, zebra" in said and "ball" not in said
    (said,) = plan(run, text="red " * 10_000).done
    assert "10000 words" in said
    assert run.generate(text="red " * 10_000, count=1).isfinite().all()
    assert run.generate(text="", count=1).isfinite().all()


def test_what_is_said_of_given_pictures_is_nothing_unless_it_is_said(
    run: mb.Run, film: Path
) -> None:
    assert plan(run, prefix=film).base.text == ("",)
    assert plan(run, prefix=film, text="a red ball").base.text == ("a red ball",)
    said = plan(run).base.text
    assert said is not None and all(said) and len(said) == 8


def test_memory_is_that_of_a_window(run: mb.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a video is, no more than a window of what was made is kept."""
    kept: list[int] = []

    def count(canvas: Any, base: Any, window: Any, made: dict[int, Tensor], fps: float) -> Any:
        kept.append(len(made))
        return request(canvas, base, window, made, fps)

    monkeypatch.setattr(filling, "request", count)
    requests(run, monkeypatch, count=1, seconds=60.0)
    assert len(kept) > 100 and max(kept) <= 8


def test_what_is_known_of_a_long_video_is_not_held_as_numbers_at_once(
    run: mb.Run, frames: Frames
) -> None:
    it = plan(run, count=1)
    known = {at: Known(frames[at % 12]) for at in range(400)}
    canvas = replace(it.canvas, frames=404, known=known)
    objective, _ = run.trained()
    parts = list(fill(run, objective, canvas, it.base, windows(canvas, 8, 2)))
    assert max(part.shape[1] for part in parts) <= 32
    assert sum(part.shape[1] for part in parts) == 404


def test_each_window_of_an_edit_begins_at_its_own_frames(
    run: mb.Run, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = requests(run, monkeypatch, video=film, strength=0.5)
    whole = read(film)
    for one, begin in zip(found, (0, 4), strict=True):
        assert one.source is not None and one.strength == 0.5
        assert torch.equal(one.source[0], whole[begin : begin + 8])
