"""The page on all that an evaluation says: scores.json in format 2, of runs and of folders."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from muybridge.core.errors import RunError
from muybridge.report import scores_table, write_report
from muybridge.report.scores_file import Score

EVIL = "<script>alert(1)</script>\"' onerror=alert(2) x='</textarea><i>"


def edit(folder: Path, change: Any) -> Path:
    """`change` gets the document and may change it in place, or give another."""
    content = json.loads((folder / "scores.json").read_text())
    content = change(content) or content
    (folder / "scores.json").write_text(json.dumps(content))
    return folder


def spoilt(value: Any, key: str = "") -> Any:
    """The same document with every text and every free name replaced by markup."""
    if isinstance(value, dict):
        free = key == "manifest"
        return {(f"{EVIL}{k}" if free else k): spoilt(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return value if key == "videos" else [spoilt(one, key) for one in value]
    return EVIL if isinstance(value, str) and key not in ("better", "kind") else value


def test_every_part_of_the_file_is_on_the_page(tmp_path: Path, judged: Any, page: Any) -> None:
    shown = page(write_report([judged(tmp_path / "first")]))
    for words in (
        "SSIM over time", "From first to last, generated: 0.94 to", "Bands: 95 % intervals.",
        "Distance to the nearest training clip", "Motion features, two principal directions",
        "Generated beside real", "Nearest training clips", "a blue ball circles",
        "Warning 24 real clips are few", "holiday 3.mp4 (broken after 0.4 s)",
        "Not measured: FID, FVD", "the network i3d_torchscript.pt is not here", "6726825d0af5",
        "first frame held still", "the ceiling", "Against second", "-6.1 to -1.2", "0.004",
        "0.008 corrected", "paired, by clips", "verdicts go by p corrected",
        "not told apart", "had other clips been made and drawn", "Wang 2004, Gaussian window of 11",
        "nearest to 1 is best", "29.11 to 37.31", "step-00000670",
    ):  # fmt: skip
        assert words in shown.words, words
    assert "flicker not compared: frames differs (16 here, 8 there)" in shown.words
    order = ["Warning", "Key scores", "Generated beside real", "Distributions", "Baselines"]
    places = [shown.source.index(words, shown.source.index("<main>")) for words in order]
    assert places == sorted(places)
    groups = re.findall(r'scope="rowgroup">([^<]*)<', shown.source)
    assert groups[:7] == [
        "Distributions", "Against ground truth", "Over time", "Physics and occlusion",
        "What was asked for", "Copying", "Speed",
    ]  # fmt: skip


def test_the_page_is_whole_by_itself_and_its_links_lead_somewhere(
    tmp_path: Path, judged: Any, page: Any
) -> None:
    folders = [judged(tmp_path / "first"), judged(tmp_path / "theirs", "folder")]
    shown = page(write_report(folders, tmp_path))
    inner = {link[1:] for link in shown.links if link.startswith("#")}
    assert [one for one in shown.links if not one.startswith(("data:video/mp4;", "#"))] == []
    assert inner and inner <= set(shown.ids) and len(set(shown.ids)) == len(shown.ids)
    assert not re.search(r"url\((?!#)|@import|https?:", shown.source)
    assert shown.handlers == [] and shown.tags.count("script") == 1


def test_no_text_of_the_file_is_markup(tmp_path: Path, judged: Any, page: Any) -> None:
    folder = edit(judged(tmp_path / "b"), lambda content: spoilt(content) | {"format": 2})
    shown = page(write_report([folder]))
    assert shown.handlers == []
    assert shown.tags.count("script") == 1 and "<i>" not in shown.source
    assert "<script>alert" not in shown.source and shown.words.count("<script>alert(1)") > 100


def test_what_is_copied_are_the_tables_of_the_command_line(
    tmp_path: Path, judged: Any, page: Any
) -> None:
    folder = judged(tmp_path / "first")
    blocks = page(write_report([folder])).blocks
    content = json.loads((folder / "scores.json").read_text())
    assert "\n\n".join(blocks[1:6:2]) == scores_table.latex(content)
    for block in blocks[:6:2]:
        assert block in scores_table.markdown(content)
    assert "| appearance distance (an offline distance of" in blocks[0]
    assert "| 33.21 | 29.11 to 37.31 | 24.2 | lower is better |" in blocks[0]


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("curves", {"lines": []}), ("curves", [3]), ("warnings", "few clips"),
        ("curves", [{"title": "", "lines": [{"name": "a", "x": [1, 2], "y": [1]}]}]),
        ("curves", [{"lines": [{"name": "a", "x": [1], "y": [1], "low": [1, 2]}]}]),
        ("scatter", [{"groups": [{"name": "a", "x": [1], "y": [1, 2]}]}]),
        ("scatter", [{"groups": [{"name": "a", "y": [1]}]}]),
        ("histograms", [{"groups": [{"values": [1]}]}]), ("missing", [{"why": "so"}]),
        ("baselines", [{"name": "b", "scores": 5}]), ("comparison", []), ("comparison", "second"),
        ("comparison", {"rows": [{}]}), ("walls", [{"rows": [{"videos": "abc"}]}]),
        ("scores", [{"name": "a", "value": 1, "manifest": 3}]), ("scores", {"name": "a"}),
    ],
)  # fmt: skip
def test_a_damaged_part_is_told_with_the_file(
    tmp_path: Path, judged: Any, part: str, wrong: Any
) -> None:
    folder = judged(tmp_path / "a", "folder", **{part: wrong})
    with pytest.raises(RunError, match=r"scores\.json is not as `muybridge evaluate` writes it"):
        write_report([folder])
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 3}', "[" * 100000, '{"scores": [' + "9" * 5000 + "]}"]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, judged: Any, text: str) -> None:
    folder = judged(tmp_path / "a", "folder")
    (folder / "scores.json").write_text(text)
    with pytest.raises(Exception, match=r"scores\.json") as error:
        write_report([folder])
    assert error.value.__class__.__name__ in ("RunError", "MuybridgeError")


@pytest.mark.parametrize("name", ["../a.mp4", "/etc/passwd", "a\0b.mp4", "x" * 5000 + ".mp4"])
def test_a_wall_of_a_folder_names_no_file_outside_it(
    tmp_path: Path, judged: Any, name: str
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"secret")
    walls = [{"title": "", "columns": [], "rows": [{"caption": "", "videos": [name]}]}]
    with pytest.raises(RunError, match="names the file"):
        write_report([judged(tmp_path / "f", "folder", walls=walls)])


def test_numbers_that_are_none_are_shown_as_such(tmp_path: Path, judged: Any, page: Any) -> None:
    def break_numbers(content: dict[str, Any]) -> None:
        for score, value in zip(
            content["scores"], [None, float("nan"), 10**400, "7"], strict=False
        ):
            score |= {"value": value, "interval": [None, float("inf")], "floor": float("nan")}
        content["curves"][0]["lines"][0]["y"][3:5] = [None, float("nan")]
        content["comparison"]["rows"][0] |= {"values": [None], "difference": None, "p": None}

    shown = page(write_report([edit(judged(tmp_path / "a"), break_numbers)]))
    assert shown.words.count("not measured") >= 6
    assert not re.search(r"\b(nan|inf|None)\b", shown.words)


def test_thousands_of_values_do_not_make_the_page_heavy(
    tmp_path: Path, judged: Any, page: Any
) -> None:
    light = write_report([judged(tmp_path / "a")]).stat().st_size

    def swell(content: dict[str, Any]) -> None:
        for score in content["scores"]:
            score["values"] = [0.123456789] * 20000
        for line in content["curves"][0]["lines"]:
            line |= {"x": list(range(20000)), "y": [0.5] * 20000, "low": None, "high": None}
        for group in content["histograms"][0]["groups"]:
            group["values"] = [i / 7 for i in range(20000)]
        for group in content["scatter"][0]["groups"]:
            group |= {k: [(i * 7919) % 1000 for i in range(20000)] for k in ("x", "y")}
        content["walls"][0]["rows"] *= 100

    heavy = write_report([edit(judged(tmp_path / "b"), swell)])
    assert heavy.stat().st_size < light + 80_000
    assert "Generated beside real (the first 24 of 600)" in page(heavy).words


def test_a_folder_without_a_recipe_is_judged_by_its_scores(
    tmp_path: Path, judged: Any, page: Any
) -> None:
    folder = judged(tmp_path / "theirs", "folder")
    shown = page(write_report([folder]))
    assert "clips from elsewhere" in shown.words and "33.21" in shown.words
    for absent in ("Training has not come", "No previews", "Recipe", "Environment", "checkpoint s"):
        assert absent not in shown.words
    (folder / "scores.json").unlink()
    with pytest.raises(RunError, match=r"no recipe\.yaml and no scores\.json"):
        write_report([folder])


def test_baselines_that_beat_the_run_are_marked_and_real_clips_are_not(
    tmp_path: Path, judged: Any, page: Any
) -> None:
    shown = page(write_report([judged(tmp_path / "first")]))
    assert "first frame held still beats first in 3 of 8 measures: SSIM, warping error, flicker." \
        in shown.words  # fmt: skip
    assert "real held-out clips beats" not in shown.words
    assert shown.words.count("▲ beats it") == 6
    assert shown.words.count("ahead, but the intervals meet") == 2
    assert "not compared: frames is 16 here, 8 there" in shown.words  # of the mean clip


def board(source: str) -> dict[str, list[str]]:
    """The leaderboard's rows by their names: what stands under the name, then each cell."""

    def words(markup: str) -> str:
        return " ".join(re.sub(r"<[^>]*>", " ", markup).split())

    body = source[source.index('class="board"') : source.index("</table>")]
    rows = re.findall(r'<th scope="row">(.*?)(<small>.*?)</th>(.*?)</tr>', body, re.DOTALL)
    return {
        words(name): [words(under), *map(words, re.findall(r"<td.*?</td>", rest, re.DOTALL))]
        for name, under, rest in rows
    }


def test_the_leaderboard_has_runs_folders_and_each_baseline_once(
    tmp_path: Path, judged: Any, page: Any
) -> None:
    folders = [
        judged(tmp_path / "first"), judged(tmp_path / "second", shift=1.1),
        judged(tmp_path / "theirs", "folder", 0.93),
    ]  # fmt: skip
    shown = page(write_report(folders, tmp_path))
    rows = board(shown.source)
    assert list(rows) == [  # by appearance distance
        "nearest training clip", "real held-out clips", "first frame held still", "theirs",
        "first", "second", "mean clip",
    ]  # fmt: skip
    assert rows["theirs"][0] == "folder of clips" and rows["mean clip"][0] == "baseline"
    assert rows["theirs"][1].startswith("30.89")
    assert rows["nearest training clip"][1] == "19.93 15.83 to 24.03 ▲ beats the best"
    assert "beats" not in rows["real held-out clips"][1]  # what is aimed at
    assert "beats" not in "".join(rows["second"])
    markdown = next(block for block in shown.blocks if "(best)" in block)
    head, _, _, first, *_ = (line.split(" | ") for line in markdown.split("\n"))
    assert head[4] == "theirs" and first[0] == "| appearance distance, lower is better"
    assert first[4] == r"30.89 \[26.79 to 34.99\] (best)"


def test_a_baseline_made_otherwise_keeps_no_runs_from_being_compared(
    tmp_path: Path, judged: Any, page: Any
) -> None:
    folders = [judged(tmp_path / "first"), judged(tmp_path / "second", shift=1.1)]
    shown = page(write_report(folders, tmp_path))
    rows = board(shown.source)
    assert any("not compared: frames" in cell for cell in rows["mean clip"])
    assert "the runs differ" not in shown.words


def test_baselines_of_one_name_that_differ_are_told_apart(
    tmp_path: Path, judged: Any, page: Any
) -> None:
    def worsen(content: dict[str, Any]) -> None:
        content["baselines"][0]["scores"][0]["value"] += 1

    folders = [judged(tmp_path / "first"), edit(judged(tmp_path / "second"), worsen)]
    shown = page(write_report(folders, tmp_path))
    rows = board(shown.source)
    assert {"first frame held still (beside first)", "first frame held still (beside second)",
            "nearest training clip"} <= set(rows)  # fmt: skip


def test_scores_stand_in_the_group_that_their_names_say() -> None:
    names = {
        "FID": "Distributions", "KVD": "Distributions", "motion distance": "Distributions",
        "distance to training clips": "Copying", "copies": "Copying",
        "LPIPS": "Against ground truth",
        "time to first frame, p95": "Speed", "peak memory": "Speed",
        "warping error": "Over time", "permanence": "Physics and occlusion",
        "shape followed": "What was asked for",
        "something new": "Other measures",
    }  # fmt: skip
    assert {name: scores_table.group(name) for name in names} == names


def test_the_first_scores_are_of_all_kinds() -> None:
    names = ["FID", "FVD", "KID", "recall", "PSNR", "flicker", "peak memory"]
    scores = [Score(name, 1.0) for name in names] + [Score("copies", None)]
    assert [score.name for score in scores_table.leading(scores, 5)] == [
        "FID", "FVD", "PSNR", "flicker", "peak memory",
    ]  # fmt: skip
    assert [score.name for score in scores_table.leading(scores, 99)] == names


@pytest.mark.parametrize(
    ("ends", "words"),
    [((0.5, 1.5), "in the interval"), ((1.5, 2.5), "outside the interval"), (None, "")],
)
def test_a_target_is_met_or_not_only_where_there_is_an_interval(
    ends: tuple[float, float] | None, words: str
) -> None:
    said = scores_table.verdict(Score("ratio", 1.0, ends, better="near", target=1.0))
    assert said.endswith(words) and bool(said) == bool(words)
