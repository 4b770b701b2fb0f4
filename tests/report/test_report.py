"""The page: whole by itself, safe to open, honest about what is missing or not comparable."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from muybridge.core.errors import RunError
from muybridge.report import write_report
from muybridge.report.curves import draw_curves

MANIFEST = {"extractor": "tiny", "frames": 16, "run": "a", "checkpoint": "step-00000020"}


def make_run(folder: Path, caption: str = "a red ball", **changes: Any) -> Path:
    """A finished run with a score, a wall, a preview and a log; `changes` are made to its score."""
    for name in ("g.mp4", "r.mp4"):
        (folder / "samples/evaluation").mkdir(parents=True, exist_ok=True)
        (folder / "samples/evaluation" / name).write_bytes(b"video " + name.encode())
    (folder / "previews").mkdir()
    (folder / "previews/step-00000020.mp4").write_bytes(b"preview")
    (folder / "recipe.yaml").write_text("model:\n  kind: dit\nobjective:\n  kind: flow\n")
    dataset = {"folder": "my clips", "clips": {"train": 3}, "size": [64, 64], "labels": [caption]}
    write(folder / "environment.json", {"format": 1, "parameters": 7e6, "dataset": dataset})
    log: list[dict[str, Any]] = [
        {"kind": "train", "step": step, "seconds": step * 1.0, "loss": 1 / step, "losses": losses}
        for step in (10, 20)
        for losses in [{"<i>$a": 0.1, "b": 0.2}]
    ]
    log += [
        {"kind": "validation", "step": 20, "seconds": 20.0, "loss": 0.7, "by_time": {"0.1": 0.5}},
        {
            "kind": "preview",
            "step": 20,
            "video": "previews/step-00000020.mp4",
            "captions": [caption],
        },
        {"kind": "news of a later version", "step": 20},
        {"kind": "end", "step": 20, "seconds": 20.0},
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in log))
    score: dict[str, Any] = {
        "name": "appearance distance",
        "value": 1.23,
        "interval": [1.0, 1.5],
        "floor": 0.9,
    }
    score |= {"better": "lower", "manifest": MANIFEST} | changes
    videos = ["samples/evaluation/g.mp4", "samples/evaluation/r.mp4"]
    wall: dict[str, Any] = {"title": "Beside real", "columns": ["generated", "real"]}
    wall["rows"] = [{"caption": caption, "videos": videos}]
    write(folder / "scores.json", {"format": 1, "scores": [score], "walls": [wall]})
    return folder


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def edit_scores(folder: Path, video: str) -> None:
    scores = json.loads((folder / "scores.json").read_text())
    scores["walls"][0]["rows"][0]["videos"][0] = video
    write(folder / "scores.json", scores)


class Page(HTMLParser):
    """What a page's tags are, and what they point to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.strong = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.words = " ".join(re.sub(r"<[^>]*>", " ", self.source).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = ("src", "href", "xlink:href", "poster", "srcset", "data", "action")
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.links += [value or "" for name, value in attrs if name in names]

    def handle_data(self, data: str) -> None:
        if self.tags and self.get_starttag_text() == "<strong>":
            self.strong += data


def test_page_points_to_nothing_outside_itself(tmp_path: Path) -> None:
    page = Page(write_report([make_run(tmp_path / "a")]))
    assert sum(link.startswith("data:video/mp4;base64,") for link in page.links) == 3
    assert [link for link in page.links if not link.startswith(("data:", "#"))] == []
    assert not re.search(r"url\((?!#)|@import", page.source)
    assert "default-src 'none'" in page.source
    assert {"svg", "video", "style"} <= set(page.tags)


def test_the_policy_of_the_page_lets_its_own_script_run(tmp_path: Path) -> None:
    source = write_report([make_run(tmp_path / "a")]).read_text()
    script = re.search(r"<script>(.*?)</script>", source, re.DOTALL)
    assert script and "prefers-reduced-motion" in script[1]
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in source


def test_page_lies_in_the_run_and_is_the_same_twice(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    path = write_report([run])
    first = path.read_bytes()
    assert path == run / "report.html"
    assert write_report([run], tmp_path).read_bytes() == first


def test_what_files_say_is_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"' onerror=alert(2) x='\ud800"
    clean = Page(write_report([make_run(tmp_path / "a")]))
    run = make_run(tmp_path / "b", evil, name=evil, note=evil, unit=evil, manifest={evil: evil})
    (run / "recipe.yaml").write_text(f"model: {{kind: {json.dumps(evil[:20])}}}\n# {evil[:-1]}\n")
    page = Page(write_report([run]))
    assert page.handlers == []
    assert page.tags.count("script") == clean.tags.count("script") == 1
    assert "&lt;script&gt;alert(1)" in page.source
    assert "<i>" not in page.source  # from a name in the log, by way of a plot
    assert "&lt;i&gt;$a" in page.source


@pytest.mark.parametrize("name", ["../secret.mp4", "/etc/passwd", "link.mp4", "linked/secret.mp4"])
def test_files_outside_the_run_are_refused(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "a")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (run / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (run / "linked").symlink_to(tmp_path)
    edit_scores(run, name)
    with pytest.raises(RunError, match="outside the run folder"):
        write_report([run])
    assert not (run / "report.html").exists()


def test_a_linked_log_or_sample_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (run / "samples/000.mp4").symlink_to(tmp_path / "secret.mp4")
    with pytest.raises(RunError, match=r"samples/000\.mp4"):
        write_report([run])
    (run / "samples/000.mp4").unlink()
    (run / "log.jsonl").rename(tmp_path / "log.jsonl")
    (run / "log.jsonl").symlink_to(tmp_path / "log.jsonl")
    with pytest.raises(RunError, match=r"log\.jsonl"):
        write_report([run])


def test_what_is_missing_is_said_with_the_command_that_makes_it(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    run.mkdir()
    (run / "recipe.yaml").write_text("model: {kind: dit}\n")
    page = Page(write_report([run]))
    quoted = f"&#39;{run}&#39;"
    assert "Training has not come to its end" in page.words
    assert (
        f"muybridge train &#39;{run}/recipe.yaml&#39; --data DATASET --out {quoted}" in page.words
    )
    assert f"No scores yet. They are made by muybridge evaluate {quoted}" in page.words
    assert f"No samples yet. They are made by muybridge generate {quoted}" in page.words


def test_a_whole_run_is_not_called_unfinished(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    assert "Training has not come" not in Page(write_report([run])).words
    with (run / "log.jsonl").open("a") as log:
        log.write('{"kind": "resume", "step": 20, "seconds": 20.0}\n')
    assert "--data &#39;my clips&#39;" in Page(write_report([run])).words


def test_an_absent_video_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    (run / "samples/evaluation/g.mp4").unlink()
    page = Page(write_report([run]))
    assert "Absent or too large to embed: samples/evaluation/g.mp4" in page.words


def test_samples_on_request_are_shown_with_their_captions(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    for index in range(2):
        (run / f"samples/{index:03d}.mp4").write_bytes(b"made")
    write(run / "samples/000.json", {"caption": "a person waving"})
    (run / "samples/001.json").write_text("{half")
    page = Page(write_report([run]))
    assert "a person waving" in page.words
    assert len([link for link in page.links if link.startswith("data:video")]) == 5


@pytest.mark.parametrize("content", ["", "a file"])
def test_what_is_no_run_is_refused_with_a_hint(tmp_path: Path, content: str) -> None:
    other = tmp_path / "other"
    if content:
        other.write_text(content)
    else:
        other.mkdir()
    with pytest.raises(RunError, match="is not a") as error:
        write_report([other])
    assert "muybridge train" in error.value.hint


def test_scores_of_another_shape_or_format_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    write(run / "scores.json", {"format": 1, "scores": [{"value": 1}]})
    with pytest.raises(RunError, match="not as `muybridge evaluate` writes it"):
        write_report([run])
    write(run / "scores.json", {"format": 3})
    with pytest.raises(RunError, match="format 3"):
        write_report([run])


@pytest.mark.parametrize(("line", "said"), [('{"kind": "tra', False), ('{"kind": "tra\n', True)])
def test_a_corrupt_last_line_of_the_log_is_tolerated(tmp_path: Path, line: str, said: bool) -> None:
    run = make_run(tmp_path / "a")
    with (run / "log.jsonl").open("a") as log:
        log.write(line)
    page = Page(write_report([run]))
    assert "20 steps in 20 s" in page.words
    assert ("log.jsonl is damaged after 6 lines" in page.words) is said


def test_differing_manifests_are_not_compared_and_the_field_is_named(tmp_path: Path) -> None:
    other = {**MANIFEST, "run": "b", "frames": 24}
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", value=0.5, manifest=other)]
    page = Page(write_report(runs, tmp_path / "page.html"))
    assert "appearance distance not compared: the runs differ in frames" in page.words
    assert "(a: 16; b: 24)" in page.words
    assert "the runs differ in run" not in page.words
    assert "strong" not in page.tags


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ({"better": "lower"}, "0.5"),
        ({"better": "higher"}, "2"),
        ({"better": "near", "target": 1.9}, "2"),
    ],
)
def test_the_best_of_a_comparable_column_is_bold(
    tmp_path: Path, scores: dict[str, Any], best: str
) -> None:
    values = {"a": 2, "b": 0.5, "c": 3 if scores["better"] == "near" else 1}
    runs = [
        make_run(tmp_path / n, value=v, manifest={**MANIFEST, "run": n}, **scores)
        for n, v in values.items()
    ]
    page = Page(write_report(runs, tmp_path / "page.html"))
    assert page.strong.split() == [best]
    rows = re.findall(r'<th scope="row"><a href="#run-(\d)"', page.source)
    assert rows[0] == ("2" if best == "0.5" else "1")
    assert "it may be chance" in page.words  # the intervals are the same


def test_those_that_were_made_alike_are_compared_beside_one_that_was_not(tmp_path: Path) -> None:
    """A predictor goes on from given frames: its numbers are no generator's."""
    given = {**MANIFEST, "given_frames": 4}
    runs = [
        make_run(tmp_path / name, value=value, manifest={**manifest, "run": name})
        for name, value, manifest in (
            ("predictor", 0.1, given), ("far", 3, MANIFEST), ("near", 2, MANIFEST)
        )
    ]  # fmt: skip
    page = Page(write_report(runs, tmp_path / "page.html"))
    assert page.strong.split() == ["2"]
    assert "not compared: given_frames" in page.words
    rows = re.findall(r'<th scope="row"><a href="#run-(\d)"', page.source)
    assert rows == ["3", "2", "1"]


def test_scores_without_a_manifest_are_not_compared(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, manifest={}) for name in "ab"]
    page = Page(write_report(runs, tmp_path / "page.html"))
    assert "a score has no manifest" in page.words
    assert "strong" not in page.tags


def test_equal_runs_have_no_best(tmp_path: Path) -> None:
    page = Page(write_report([make_run(tmp_path / name) for name in "ab"], tmp_path / "page.html"))
    assert "all runs are equal" in page.words
    assert "strong" not in page.tags


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    runs = [make_run(tmp_path / "x/run"), make_run(tmp_path / "y/run")]
    page = Page(write_report(runs, tmp_path / "page.html"))
    assert all(f">{run}</a>" in page.source for run in runs)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "1.37 times what real clips score"),
        ({"interval": [0.8, 1.5]}, "not told apart from real clips"),
        ({"better": "higher", "floor": 2.46}, "0.5 times what real clips score"),
        ({"better": "near", "target": 1.4}, "the target lies in the interval"),
        ({"better": "near", "target": 1.6}, "the target lies outside the interval"),
    ],
)
def test_a_card_says_in_words_what_its_number_means(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    assert words in Page(write_report([make_run(tmp_path / "a", **changes)])).words


def test_report_never_imports_torch(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    code = (
        "import sys; from pathlib import Path; from muybridge.report import write_report;"
        "early = {'matplotlib', 'jinja2', 'yaml'} & set(sys.modules);"
        f"write_report([Path({str(run)!r})]); sys.exit('torch' in sys.modules or bool(early))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_scores_that_samples_got_during_training_are_drawn_over_steps() -> None:
    log = [
        {
            "kind": "scores",
            "step": step,
            "seconds": 1.0,
            "motion distance": 50.0 - step,
            "copies": 0,
        }
        for step in (10, 20, 30)
    ]
    curves = draw_curves({"scores": log})
    assert [curve.title for curve in curves] == ["Samples: motion distance", "Samples: copies"]
    assert curves[0].words == "From first to last, 40 to 20."
    many = {f"score {place}": 1.0 for place in range(30)}
    assert len(draw_curves({"scores": [{"kind": "scores", "step": 1} | many]})) <= 8
