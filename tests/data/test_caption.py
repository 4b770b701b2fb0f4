"""With tiny models of random weights, made here: what they say is nonsense, how it comes is not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from muybridge.core.errors import MuybridgeError, RecipeError
from muybridge.core.video import Frames
from muybridge.data import subject
from muybridge.data.caption import (
    CAPTIONERS,
    Captioner,
    Config,
    Detector,
    ObjectsConfig,
    most_agreed,
)

WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "the", "video", "of", "man", "dog", "runs", "jumps",
    "in", "on", "red", "blue", "park",
]  # fmt: skip
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
HEADS = SMALL | {"num_attention_heads": 2}
SIGHT = HEADS | {"image_size": 32, "patch_size": 16, "initializer_range": 0.02}
TALK = HEADS | {"vocab_size": len(WORDS), "max_position_embeddings": 64, "pad_token_id": 0} | {
    "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3
}  # fmt: skip


@pytest.fixture(scope="module")
def library() -> Any:
    return pytest.importorskip("transformers")


def vocabulary(library: Any) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return library.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip


def network(library: Any, kind: str) -> Any:
    """A tiny network of a kind whose answer hangs on the picture."""
    torch.manual_seed(3)
    if kind == "blip":
        settings = library.BlipConfig(
            text_config=TALK | {"encoder_hidden_size": 16},
            vision_config=SIGHT,
            projection_dim=16,
        )
        made = library.BlipForConditionalGeneration(settings)
    elif kind == "git":
        settings = library.GitConfig(vision_config=SIGHT, **TALK)
        made = library.GitForCausalLM(settings)
    else:
        decoder = library.BertConfig(**TALK, is_decoder=True, add_cross_attention=True)
        settings = library.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
            library.ViTConfig(**SIGHT), decoder
        )
        settings.decoder_start_token_id, settings.pad_token_id = 2, 0
        made = library.VisionEncoderDecoderModel(config=settings)
        made.generation_config.decoder_start_token_id = 2
        made.generation_config.pad_token_id, made.generation_config.eos_token_id = 0, 3
    with torch.no_grad():
        for weights in made.parameters():
            weights.mul_(10)
    return made


@pytest.fixture(scope="module")
def captioners(library: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            network(library, kind).save_pretrained(made[kind])
            vocabulary(library).save_pretrained(made[kind])
            (made[kind] / "preprocessor_config.json").write_text(
                json.dumps(
                    {
                        "image_processor_type": "BlipImageProcessor",
                        "size": {"height": 32, "width": 32},
                    }
                )
            )
        return made[kind]

    return folder


@pytest.fixture(scope="module")
def detector(library: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that is sure of five people or dogs, and puts them where the picture leads it."""
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("yolos")
    settings = library.YolosConfig(
        **HEADS, image_size=[32, 48], patch_size=16, num_detection_tokens=5,
        id2label={0: "person", 1: "dog", 2: "N/A"}, label2id={"person": 0, "dog": 1, "N/A": 2},
    )  # fmt: skip
    made = library.YolosForObjectDetection(settings)
    with torch.no_grad():
        for weights in made.bbox_predictor.parameters():
            weights.mul_(20)
        last = made.class_labels_classifier.layers[-1]
        last.weight.mul_(200)
        last.bias.copy_(torch.tensor([9.0, 9.0, 4.0, -9.0]))
    made.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "YolosImageProcessor",
                "size": {"shortest_edge": 32, "longest_edge": 48},
            }
        )
    )
    return folder


def clips(count: int) -> list[Frames]:
    random = np.random.default_rng(0)
    return [
        np.repeat(random.integers(0, 256, (6, 4, 6, 3), np.uint8), 10, 1).repeat(10, 2)
        for _ in range(count)
    ]


# --- captions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CAPTIONERS)
def test_a_caption_hangs_on_the_picture_and_on_nothing_else(
    captioners: Callable[[str], Path], kind: str
) -> None:
    captioner = Captioner(Config(model=str(captioners(kind)), length=8))
    said = [captioner.caption(clip) for clip in clips(8)]
    assert len(set(said)) > 1
    assert all(set(text.split()) <= set(WORDS[4:]) for text in said)
    torch.manual_seed(9)
    again = Captioner(Config(model=str(captioners(kind)), length=8))
    assert [again.caption(clip) for clip in clips(8)] == said
    assert again.identity == captioner.identity


@pytest.mark.parametrize("kind", CAPTIONERS)
def test_a_prompt_leads_the_model_and_is_not_part_of_the_caption(
    captioners: Callable[[str], Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "the red dog in"
    captioner = Captioner(Config(model=str(captioners(kind)), prompt=prompt, length=6, frames=2))
    generate = captioner._model.network.generate
    kept = {}

    def watched(**inputs: Any) -> Any:
        kept["written"] = generate(**inputs)
        return kept["written"]

    monkeypatch.setattr(captioner._model.network, "generate", watched)
    caption = captioner.caption(clips(1)[0])
    ids = [WORDS.index(word) for word in prompt.split()]
    assert len(kept["written"]) == 2  # frames
    for row in kept["written"].tolist():
        assert row[1 : 1 + len(ids)] == ids  # after the token that begins
    rest = [row[1 + len(ids) :] for row in kept["written"].tolist()]
    texts = [" ".join(WORDS[i] for i in row if i > 3) for row in rest]
    assert caption in texts


def test_the_caption_is_that_which_the_frames_agree_on() -> None:
    assert most_agreed(["a cat", "a dog runs", "a dog sits", "the moon"]) == "a dog runs"
    assert most_agreed(["one", "two", "three"]) == "two"
    assert most_agreed(["", "a dog", "A dog"]) == "a dog"
    assert most_agreed([""]) == ""


def test_a_clip_shorter_than_the_frames_to_show_has_a_caption(
    captioners: Callable[[str], Path],
) -> None:
    captioner = Captioner(Config(model=str(captioners("blip")), frames=9, length=4))
    clip = clips(1)[0]
    assert captioner.caption(clip[:1]) == captioner.caption(clip[:1].repeat(4, 0))


# --- objects -------------------------------------------------------------------------------------


def test_objects_are_named_and_placed_by_the_picture(detector: Path) -> None:
    finder = Detector(ObjectsConfig(model=str(detector), threshold=0.3))
    first, second = clips(2)
    assert set(finder.objects(first)) <= {"person", "dog"} and finder.objects(first)
    assert finder.objects(first) == finder.objects(first)
    found, other = finder.boxes(first), finder.boxes(second)
    assert len(found) == len(first)
    for names, boxes in found:
        assert boxes.shape == (len(names), 5) and boxes.min() >= 0 and boxes.max() <= 1
        assert np.all(boxes[:, 2:4] >= boxes[:, :2]) and np.all(boxes[:, 4] > 0.3)
    places = [np.concatenate([boxes for _, boxes in one]).mean(0) for one in (found, other)]
    assert np.abs(places[0] - places[1]).max() > 1e-3
    # Boxes do not hang on the other frames shown with them.
    np.testing.assert_allclose(finder.boxes(first[2:3])[0][1], found[2][1], atol=1e-5)


def test_only_the_words_asked_for_are_seen_and_only_above_the_threshold(detector: Path) -> None:
    clip = clips(1)[0]
    every = Detector(ObjectsConfig(model=str(detector), threshold=0.3)).boxes(clip)
    dogs = Detector(ObjectsConfig(model=str(detector), threshold=0.3, words=("dog",)))
    assert sum(names.count("dog") for names, _ in every) == sum(
        len(names) for names, _ in dogs.boxes(clip)
    )
    assert set(dogs.objects(clip)) <= {"dog"}
    assert Detector(ObjectsConfig(model=str(detector), threshold=1)).objects(clip) == ()


def test_a_word_that_the_detector_does_not_know_is_refused(detector: Path) -> None:
    with pytest.raises(RecipeError, match="does not know 'persons'") as error:
        Detector(ObjectsConfig(model=str(detector), words=("persons",)))
    assert "did you mean 'person'?" in error.value.hint


def test_a_crop_follows_the_people_that_a_detector_finds(
    detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "SCORE", 0.3)
    clip = clips(1)[0].repeat(4, 0)
    found = subject.path(clip, (1, 1), "people", str(detector), 12)
    mirrored = subject.path(clip[:, :, ::-1], (1, 1), "people", str(detector), 12)
    assert np.abs(found[:, 1] - 0.5).max() > 1e-3
    np.testing.assert_allclose(mirrored[:, 1], 1 - found[:, 1], atol=1e-6)


# --- models that cannot be used ------------------------------------------------------------------


def copied(folder: Path, to: Path, without: str = "") -> Path:
    to.mkdir()
    for path in folder.iterdir():
        if path.name != without:
            (to / path.name).write_bytes(path.read_bytes())
    return to


def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        MuybridgeError, match=r"prepare\.caption\.model needs transformers"
    ) as error:
        Captioner(Config(model="some/model"))
    assert "pip install 'muybridge[caption]'" in error.value.hint


def test_pickled_weights_are_not_read(detector: Path, tmp_path: Path) -> None:
    folder = copied(detector, tmp_path / "pickled", "model.safetensors")
    torch.save(load_file(detector / "model.safetensors"), folder / "pytorch_model.bin")
    with pytest.raises(MuybridgeError, match=r"safetensors, only pytorch_model\.bin"):
        Detector(ObjectsConfig(model=str(folder)))


def test_code_in_a_folder_is_not_run(detector: Path, tmp_path: Path) -> None:
    folder = copied(detector, tmp_path / "code")
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(MuybridgeError, match=r"prepare\.objects\.model = .* cannot be loaded"):
        Detector(ObjectsConfig(model=str(folder)))
    assert not (tmp_path / "ran").exists()


def test_weights_that_lack_a_part_are_refused(detector: Path, tmp_path: Path) -> None:
    folder = copied(detector, tmp_path / "lacking")
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "bbox_predictor" not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(MuybridgeError, match=r"lack 6 of the network's parts, as bbox_predictor"):
        Detector(ObjectsConfig(model=str(folder)))


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_broken_file_is_an_error_that_names_the_setting(
    detector: Path, tmp_path: Path, file: str
) -> None:
    folder = copied(detector, tmp_path / "broken")
    (folder / file).write_bytes(b"{")
    with pytest.raises(MuybridgeError, match=r"prepare\.objects\.model = .* cannot be loaded"):
        Detector(ObjectsConfig(model=str(folder)))


def test_a_model_of_another_kind_is_refused(
    captioners: Callable[[str], Path], detector: Path
) -> None:
    with pytest.raises(MuybridgeError, match="cannot be loaded as AutoModelForObjectDetection"):
        Detector(ObjectsConfig(model=str(captioners("blip"))))
    with pytest.raises(MuybridgeError, match="cannot be loaded as AutoModelForImageTextToText"):
        Captioner(Config(model=str(detector)))


def test_the_digest_is_that_of_the_weights(detector: Path, tmp_path: Path) -> None:
    folder = copied(detector, tmp_path / "other")
    same = Detector(ObjectsConfig(model=str(folder))).identity
    assert same["model"] == str(folder)
    assert same["digest"] == Detector(ObjectsConfig(model=str(detector))).identity["digest"]
    weights = load_file(folder / "model.safetensors")
    next(iter(weights.values())).add_(1)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert Detector(ObjectsConfig(model=str(folder))).identity["digest"] != same["digest"]


def test_a_hub_name_fetches_no_code_and_no_pickle(
    library: Any, detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fnmatch

    import huggingface_hub

    def fetched(name: str, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        if name != "some/model":
            raise OSError("no network")
        for file in ("model.py", "pytorch_model.bin", "weights.pkl"):
            assert not any(fnmatch.fnmatch(file, pattern) for pattern in allow_patterns)
        for file in ("config.json", "model.safetensors"):
            assert any(fnmatch.fnmatch(file, pattern) for pattern in allow_patterns)
        return str(detector)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    assert Detector(ObjectsConfig(model="some/model")).identity["model"] == "some/model"
    with pytest.raises(MuybridgeError, match="cannot be had from the hub: no network"):
        Detector(ObjectsConfig(model="other/model"))
