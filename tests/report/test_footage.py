"""The page on footage: whole by itself, safe to open, and the sums are on it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from muybridge.core.errors import MuybridgeError, RunError
from muybridge.data import overview
from muybridge.report.footage import clock, duration, short, write_page

SETTINGS = {"min_seconds": 0.5, "min_sharpness": 8.0, "ratios": [0.8, 0.1, 0.1]}
EMPTY = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta"}


class Page(HTMLParser):
    """What a page's tags are, whether they close as they open, and what they point to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        self.words = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in EMPTY:
            self.open.append(tag)
        names = ("src", "href", "xlink:href", "poster", "srcset", "data", "action")
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.links += [value or "" for name, value in attrs if name in names]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += f" {data}"


def make(footage: Any, folder: Path) -> Page:
    overview.write(folder, footage.items, footage.folders, footage.clips, SETTINGS)
    return Page(write_page(folder))


def test_page_points_to_nothing_outside_itself(footage: Any, tmp_path: Path) -> None:
    page = make(footage, tmp_path)
    assert [
        link for link in page.links if not link.startswith(("data:image/jpeg;base64,", "#"))
    ] == []
    assert page.tags.count("img") == len(list((tmp_path / "pictures").iterdir()))
    assert "script" not in page.tags and page.handlers == []
    assert not re.search(r"https?:|url\((?!#)|@import", page.source)
    assert str(tmp_path) not in page.source and str(footage.folder) not in page.source
    assert "/films/of/mine" not in page.source
    assert "default-src 'none'" in page.source
    assert page.open == []  # every tag is closed, in its order


def test_numbers_and_warnings_come_first(footage: Any, tmp_path: Path) -> None:
    words = make(footage, tmp_path).words
    order = [
        "came in 10 files, 21.4 s", "kept 8 clips, 11.2 s", "set aside 4 files",
        "Few independent sources", "What came in, what went out", "Splits side by side",
        "Set aside blurred", "Near-duplicates", "What is in the clips",
        "Are the thresholds right?", "Settings",
    ]  # fmt: skip
    places = [words.find(part) for part in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_the_table_on_the_page_adds_up(footage: Any, tmp_path: Path) -> None:
    page = make(footage, tmp_path)
    rows = re.findall(
        r'<th scope="row">([^<]*)(?:<small>[^<]*</small>)?</th><td class="number">(\d+)</td>'
        r'<td class="number">([\d.]+) s</td>', page.source,
    )  # fmt: skip
    table = {name: (int(files), float(seconds)) for name, files, seconds in rows}
    parts = [row for name, row in table.items() if name.startswith(("kept", "set aside:"))]
    total = table.pop("kept and set aside")
    parts.remove(total)
    assert total == table["came in"]
    assert sum(files for files, _ in parts) == total[0] == 10
    assert sum(seconds for _, seconds in parts) == pytest.approx(total[1], abs=0.05 * len(parts))


EVIL = [
    "<script>alert(1)</script>.mp4",
    "\"' onerror=alert(2) x='.mp4",
    "</figure></main><h1>news</h1>.mp4",
    "two\nlines\t\x1b[31m.mp4",
    "日本 \u202e кино.mp4",
    "{{ 7 * 7 }}{% raw %}.mp4",
    "$x^2$ %s.mp4",
    "no text \udcff.mp4",
]


def test_what_files_are_called_is_never_markup(footage: Any, tmp_path: Path) -> None:
    clean = make(footage, tmp_path / "clean")
    for item, evil in zip(footage.items, EVIL, strict=False):
        old, item["name"] = item["name"], evil
        for row in footage.rows:
            row |= {"file": evil, "label": evil} if row["file"] == old else {}
        for part in item["parts"]:
            part["reason"] = part["reason"] and f"{evil}: {evil}"
    page = make(footage, tmp_path / "evil")
    assert page.open == []
    assert page.handlers == []
    assert set(page.tags) == set(clean.tags)
    assert page.tags.count("h1") == 1
    for evil in EVIL:
        shown = " ".join(evil.encode("utf-8", "replace").decode().split())
        assert shown in page.words


def test_page_is_the_same_twice(footage: Any, tmp_path: Path) -> None:
    make(footage, tmp_path)
    first = (tmp_path / "report.html").read_bytes()
    assert write_page(tmp_path).read_bytes() == first


def test_little_footage_still_makes_a_page(footage: Any, tmp_path: Path) -> None:
    """Nothing kept; no picture, no figure."""
    overview.write(tmp_path, footage.items[-1:], footage.folders[-1:], None, {})
    page = Page(write_page(tmp_path))
    assert "kept 0 clips" in page.words
    assert "empty.mp4 is empty (0 bytes)" in page.words
    assert page.open == []


def test_a_dry_run_has_a_page_without_splits(footage: Any, tmp_path: Path) -> None:
    overview.write(tmp_path, footage.items, footage.folders, None, SETTINGS)
    words = Page(write_page(tmp_path)).words
    assert "Splits side by side" not in words
    assert "kept 8 clips" in words


@pytest.mark.parametrize("content", ["[]", '{"format": 99}', '{"format": 1}'])
def test_a_damaged_overview_is_an_error_with_a_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "overview.json").write_text(content)
    with pytest.raises(RunError) as error:
        write_page(tmp_path)
    assert "muybridge prepare" in error.value.hint
    (tmp_path / "overview.json").unlink()
    with pytest.raises(MuybridgeError, match="does not exist"):
        write_page(tmp_path)


def test_a_picture_outside_the_folder_is_refused(footage: Any, tmp_path: Path) -> None:
    make(footage, tmp_path / "dataset")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    path = tmp_path / "dataset/overview.json"
    content = json.loads(path.read_text())
    content["kept"][0]["pictures"][0]["file"] = "../secret.jpg"
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match="outside"):
        write_page(tmp_path / "dataset")


def test_the_short_form_fits_a_terminal(footage: Any, tmp_path: Path) -> None:
    made = overview.write(tmp_path, footage.items, footage.folders, footage.clips, SETTINGS)
    lines = short(made).split("\n")
    assert lines[0].split()[:5] == ["came", "in", "10", "files", "21.4"]
    assert "8 clips: train 6, validation 1, test 1" in lines[1]
    assert any(line.startswith("! Few independent sources: 5 ") for line in lines)
    assert len(lines) <= 20

    made["table"]["aside"] = [
        {"reason": f"reason {i}", "files": 1, "touched": 1, "parts": 1, "seconds": 9.0 - i}
        for i in range(9)
    ]
    made["warnings"] = [
        {"says": f"W{i} \x1b[31m", "figure": "9" * 200, "do": ""} for i in range(30)
    ]
    lines = short(made).split("\n")
    assert len(lines) == 20
    assert max(map(len, lines)) <= 100
    assert all(line.isprintable() for line in lines)
    assert "  4 other reasons          4 files      10.0 s" in lines
    told = sum(line.startswith("! W") for line in lines)
    assert lines[-1] == f"! and {30 - told} more, which the page tells"


def test_times_are_said_as_people_say_them() -> None:
    assert [duration(s) for s in (0.04, 119.9, 120, 7200, None)] == [
        "0.0 s", "119.9 s", "2.0 min", "2.0 h", "unknown"
    ]  # fmt: skip
    assert [clock(s) for s in (0, 59.96, 61.2, 3725)] == ["0:00.0", "1:00.0", "1:01.2", "62:05.0"]
