"""Captions and objects of clips by pretrained models: optional, and off unless one is named.

Models are those of the transformers library, from a local folder or a hub name. Only their weights
in safetensors are read, and no code of theirs is run.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import files, progress, video
from ..core.config import Count, NotNegative, Section
from ..core.device import pick
from ..core.errors import MuybridgeError, RecipeError, nearest
from ..core.files import digest, digest_of
from .label_files import Note

Frames = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float64]

CAPTIONERS = ("blip", "git", "vision-encoder-decoder")
BEAMS = 3
# All that is fetched of a hub's model: settings, vocabularies and weights without code in them.
FILES = ("*.json", "*.txt", "*.model", "*.safetensors")


class Config(Section):
    """Captions written by a model, for clips that have none."""

    model: str = ""
    """A folder or hub name of a captioner (BLIP, GIT or a vision-encoder-decoder); "" for none."""
    prompt: str = ""
    """How the model is to begin its sentence, as "a video of"; not part of the caption."""
    frames: Count = 3
    """Frames of a clip that are shown to it, evenly spaced."""
    length: Count = 30
    """Most tokens of a caption."""


class ObjectsConfig(Section):
    """Objects found by a model, for clips that name none."""

    model: str = ""
    """A folder or hub name of an object detector (YOLOS, RT-DETR); "" for none."""
    words: tuple[str, ...] = ()
    """Of the objects that it knows, those to look for; all where empty."""
    frames: Count = 3
    """Frames of a clip that are shown to it, evenly spaced."""
    threshold: NotNegative = 0.7
    """The score from which on an object counts as seen, from 0 to 1."""


def describe(
    videos: Sequence[Path], notes: Sequence[Note], captions: Config, objects: ObjectsConfig
) -> list[Note]:
    """Adds captions and objects to the clips that have none.

    What a model said of a clip is kept beside its video, so that it is not asked again.

    Args:
        videos: each clip's mp4.
        notes: what is known of each.
        captions, objects: the models; one without a name is not asked.
    """
    writer, finder = functools.cache(Captioner), functools.cache(Detector)

    def said(path: Path, settings: Section, ask: Callable[[Frames], Any]) -> Any:
        mark = digest_of(type(settings).__qualname__, settings.model_dump())[:12]
        kept = path.with_suffix(f".{mark}.json")
        if not kept.exists():
            files.write_json(kept, ask(video.read_video(path)[0]))
        return files.read_json(kept, "caption")

    made = []
    for path, told in zip(progress.track(videos, "caption", len(videos)), notes, strict=True):
        note = told
        if captions.model and not note.caption:
            text = said(path, captions, lambda frames: writer(captions).caption(frames))
            note = replace(note, caption=text)
        if objects.model and not note.objects:
            names = said(path, objects, lambda frames: finder(objects).objects(frames))
            note = replace(note, objects=tuple(names))
        made.append(note)
    return made


class Captioner:
    """Describes clips in words.

    Args:
        config: names the model.

    Attributes:
        identity: "model" and the "digest" of its weights, for the dataset's manifest.

    Raises:
        MuybridgeError: transformers is not installed, or the model cannot be had or used.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._model = _Model(config.model, "prepare.caption.model", "AutoModelForImageTextToText")
        self.identity = self._model.identity
        kind = self._model.network.config.model_type
        if kind not in CAPTIONERS:
            raise RecipeError(
                f"prepare.caption.model = {config.model} is a model of the kind {kind}, which is "
                "not known here",
                f"name one of the kinds {', '.join(CAPTIONERS)}",
            )
        self._tokenizer = self._model.load("AutoTokenizer")
        self._prompt = self._prompt_tokens(kind)

    def caption(self, frames: Frames) -> str:
        """One sentence for a clip of uint8 RGB frames (time, height, width, 3).

        Each frame shown is described by itself; the clip gets the description that shares the most
        words with the others. The same frames give the same words.
        """
        import torch

        shown = _shown(frames, self.config.frames)
        inputs = self._model.pixels(shown)
        begun = 0
        if self._prompt:
            name, tokens, begun = self._prompt
            inputs[name] = torch.tensor([tokens] * len(shown), device=self._model.device)
        with torch.inference_mode():
            written = self._model.network.generate(
                **inputs, max_new_tokens=self.config.length, num_beams=BEAMS, do_sample=False
            )
        texts = self._tokenizer.batch_decode(written[:, begun:], skip_special_tokens=True)
        return most_agreed([" ".join(text.split()) for text in texts])

    def _prompt_tokens(self, kind: str) -> tuple[str, list[int], int] | None:
        """The prompt as an argument of `generate`, and how many tokens of the answer it takes."""
        if not self.config.prompt:
            return None
        if kind == "blip":  # which drops the last token, the end, itself
            tokens = self._tokenizer(self.config.prompt).input_ids
            return "input_ids", tokens, len(tokens) - 1
        words = self._tokenizer(self.config.prompt, add_special_tokens=False).input_ids
        if kind == "git":
            return "input_ids", [self._tokenizer.cls_token_id, *words], 1 + len(words)
        settings = self._model.network.generation_config
        start = settings.decoder_start_token_id
        start = settings.bos_token_id if start is None else start
        return "decoder_input_ids", [start, *words], 1 + len(words)


class Detector:
    """Finds objects in frames.

    Args:
        config: names the model and what to look for.
        setting: the name of the setting that names the model, for errors.

    Attributes:
        identity: "model" and the "digest" of its weights, for the dataset's manifest.

    Raises:
        MuybridgeError: transformers is not installed, the model cannot be had or used, or it does
            not know one of the words.
    """

    def __init__(self, config: ObjectsConfig, setting: str = "prepare.objects.model") -> None:
        self.config = config
        self._model = _Model(config.model, setting, "AutoModelForObjectDetection")
        self.identity = self._model.identity
        self._names: dict[int, str] = self._model.network.config.id2label
        known = sorted(set(self._names.values()))
        for word in config.words:
            if word not in known:
                close = nearest(word, known)
                raise RecipeError(
                    f"prepare.objects.words: {setting} = {config.model} does not know {word!r}",
                    f"did you mean {close!r}?" if close else f"it knows {', '.join(known)}",
                )

    def objects(self, frames: Frames) -> tuple[str, ...]:
        """The sorted names of what is seen in any of the frames shown of a clip, uint8 RGB
        (time, height, width, 3)."""
        seen = self.boxes(_shown(frames, self.config.frames))
        return tuple(sorted({name for names, _ in seen for name in names}))

    def boxes(self, frames: Frames) -> list[tuple[list[str], Boxes]]:
        """For each frame, the names of what is seen, and where: float64 (n, 5), top, left, bottom
        and right as shares of the picture, and the score."""
        import torch

        with torch.inference_mode():
            found = self._model.network(**self._model.pixels(frames))
        results = self._model.processor.post_process_object_detection(
            found, threshold=self.config.threshold, target_sizes=[(1, 1)] * len(frames)
        )
        wanted = set(self.config.words or self._names.values()) - {"N/A"}
        answer = []
        for result in results:
            names = [self._names[label] for label in result["labels"].tolist()]
            table = np.zeros((len(names), 5))
            if names:
                table[:, :4] = result["boxes"].double().cpu().numpy()[:, [1, 0, 3, 2]]
                table[:, 4] = result["scores"].double().cpu().numpy()
            kept = [i for i, name in enumerate(names) if name in wanted]
            answer.append(([names[i] for i in kept], np.clip(table[kept], 0, 1)))
        return answer


class _Model:
    """A network with what makes pixels into its input, from a folder that was checked first."""

    def __init__(self, name: str, setting: str, kind: str) -> None:
        self._library = _package("transformers", setting)
        self._library.utils.logging.disable_progress_bar()
        self._name, self._setting = name, setting
        self.folder = _folder(name, setting)
        weights = sorted(self.folder.glob("*.safetensors"))
        if not weights:
            others = sorted(path.name for path in self.folder.glob("*.bin"))
            raise MuybridgeError(
                f"{setting} = {name} holds no weights in safetensors"
                + (f", only {', '.join(others)}, which could run code" if others else ""),
                "name a model with a model.safetensors, or save this one with "
                "save_pretrained() where you trust it",
            )
        self.identity = {
            "model": name,
            "digest": digest_of([(path.name, digest(path)) for path in weights]),
        }
        self.device = pick()
        self.network, lacking = self.load(kind, use_safetensors=True, output_loading_info=True)
        if absent := sorted(lacking["missing_keys"]):
            raise MuybridgeError(
                f"{setting} = {name}: the weights lack {len(absent)} of the network's parts, "
                f"as {absent[0]}",
                "it would guess at random; name a model that was trained for this",
            )
        self.network.to(self.device).eval()
        # The other backend needs torchvision, and makes slightly different pixels.
        self.processor = self.load("AutoImageProcessor", backend="pil")

    def load(self, kind: str, **options: Any) -> Any:
        """One of the library's Auto classes, from the folder alone."""
        try:
            return getattr(self._library, kind).from_pretrained(
                self.folder, trust_remote_code=False, local_files_only=True, **options
            )
        except Exception as error:  # whatever a broken or unfit folder makes the library raise
            text = " ".join(str(error).split())
            raise MuybridgeError(
                f"{self._setting} = {self._name} cannot be loaded as {kind}: {text[:300]}",
                "name a model of the right kind, with all its files in the folder",
            ) from error

    def pixels(self, frames: Frames) -> dict[str, Any]:
        """The network's input for uint8 RGB frames (time, height, width, 3)."""
        made = self.processor(images=list(frames), return_tensors="pt")
        return {name: value.to(self.device) for name, value in made.items()}


def _package(name: str, setting: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MuybridgeError(
            f"{setting} needs {name}, which is not installed", "pip install 'muybridge[caption]'"
        ) from error


def _folder(name: str, setting: str) -> Path:
    """The model's files on this machine; fetched from the hub unless `name` is a folder."""
    if Path(name).is_dir():
        return Path(name)
    hub = _package("huggingface_hub", setting)
    try:
        return Path(
            hub.snapshot_download(name, allow_patterns=list(FILES), ignore_patterns=["*/*"])
        )
    except Exception as error:  # no such name, no network, no room: each raises its own
        text = " ".join(str(error).split())
        raise MuybridgeError(
            f"{setting} = {name} is not a folder, and cannot be had from the hub: {text[:300]}",
            "give the path of a folder that holds the model; without a network, fetch it elsewhere",
        ) from error


def _shown(frames: Frames, count: int) -> Frames:
    """Up to `count` frames, evenly spaced and away from both ends."""
    moments = (np.arange(min(count, len(frames))) + 0.5) / min(count, len(frames)) * len(frames)
    return np.asarray(frames[moments.astype(int)])


def most_agreed(texts: Sequence[str]) -> str:
    """The text that shares the most words with the others; of equals, the one in the middle."""
    words = [set(text.lower().split()) for text in texts]

    def agreement(i: int) -> tuple[float, float]:
        shared = [len(words[i] & other) / max(1, len(words[i] | other)) for other in words]
        return round(sum(shared), 9), -abs(i - (len(texts) - 1) / 2)

    return texts[max(range(len(texts)), key=agreement)]
