from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core.errors import DataError
from muybridge.data.labels import FOUND_BY_ITSELF, Note, find, of_folders, read

# No surrogates, which no file can hold; no NUL and no carriage return, which CSV does not keep.
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)
NAMES = st.lists(
    st.text("abcXYZ09 é_-", min_size=1), min_size=1, max_size=4, unique_by=str.strip
).map(lambda names: [f"{name.strip() or 'x'}.mp4" for name in names])


def csv_file(
    path: Path, rows: list[list[str]], delimiter: str = ",", encoding: str = "utf-8"
) -> Path:
    with path.open("w", newline="", encoding=encoding) as stream:
        csv.writer(stream, delimiter=delimiter).writerows(rows)
    return path


def refused(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read(path)
    return caught.value


@given(NAMES, st.data())
def test_whatever_csv_says_comes_back(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: st.DataObject
) -> None:
    rows = [[name, data.draw(WORDS), data.draw(WORDS)] for name in names]
    path = tmp_path_factory.getbasetemp() / "labels.csv"
    csv_file(path, [["file_name", "caption", "label"], *rows])
    assert read(path) == {name: Note(text.strip(), label.strip()) for name, text, label in rows}


@given(NAMES, st.booleans(), st.data())
def test_whatever_jsonl_says_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    ascii_only: bool,
    data: st.DataObject,
) -> None:
    rows = [{"file_name": name, "text": data.draw(WORDS)} for name in names]
    path = tmp_path_factory.getbasetemp() / "labels.jsonl"
    lines = [json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read(path) == {row["file_name"]: Note(row["text"].strip()) for row in rows}


@pytest.mark.parametrize(
    ("header", "note"),
    [
        (("file_name", "caption", "label", "split"), Note("a", "b", "test")),
        (("path", "text", "action", "split"), Note("a", "b", "test")),
        (("video", "prompt", "class", "split"), Note("a", "b", "test")),
        (("filename", "description", "category", "split"), Note("a", "b", "test")),
        (("file", "colour", "shape", "fold"), Note()),
    ],
)
def test_columns_are_known_by_the_names_people_use(
    tmp_path: Path, header: tuple[str, ...], note: Note
) -> None:
    path = csv_file(tmp_path / "labels.csv", [list(header), ["x.mp4", "a", "b", "test"]])
    assert read(path) == {"x.mp4": note}


def test_our_name_of_a_column_goes_first(tmp_path: Path) -> None:
    rows = [["text", "caption", "path", "file_name"], ["theirs", "ours", "theirs.mp4", "ours.mp4"]]
    assert read(csv_file(tmp_path / "labels.csv", rows)) == {"ours.mp4": Note("ours")}


def test_what_a_spreadsheet_saves_is_read(tmp_path: Path) -> None:
    rows = [["file_name", "caption"], ["x.mp4", "a, b"]]
    expected = {"x.mp4": Note("a, b")}
    assert read(csv_file(tmp_path / "bom.csv", rows, encoding="utf-8-sig")) == expected
    assert read(csv_file(tmp_path / "tabs.tsv", rows, delimiter="\t")) == expected


def test_file_names_are_as_the_folder_says_them(tmp_path: Path) -> None:
    rows = [["file_name"], ["./a/b.mp4"], [" c.mp4 "], ["d//e.mp4"]]
    assert list(read(csv_file(tmp_path / "labels.csv", rows))) == ["a/b.mp4", "c.mp4", "d/e.mp4"]


@pytest.mark.parametrize(("value", "label"), [(0, "0"), (3, "3"), (None, ""), ("", ""), ("0", "0")])
def test_a_label_may_be_a_number(tmp_path: Path, value: object, label: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"file_name": "x.mp4", "label": value}) + "\n")
    assert read(path) == {"x.mp4": Note(label=label)}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("train", "train"), ("validation", "validation"), ("test", "test"), ("val", "validation"),
        ("valid", "validation"), ("", ""),
    ],
)  # fmt: skip
def test_splits_are_known(tmp_path: Path, said: str, meant: str) -> None:
    path = csv_file(tmp_path / "labels.csv", [["file", "split"], ["x.mp4", said]])
    assert read(path)["x.mp4"].split == meant


def test_an_unknown_split_names_its_row(tmp_path: Path) -> None:
    rows = [["file", "split"], ["x.mp4", "train"], ["y.mp4", "trian"]]
    error = refused(csv_file(tmp_path / "labels.csv", rows))
    for told in (str(tmp_path / "labels.csv"), "row 2", "'trian'", "train, validation, test"):
        assert told in error.message
    assert error.hint


def test_a_row_without_a_file_names_itself(tmp_path: Path) -> None:
    error = refused(
        csv_file(tmp_path / "labels.csv", [["file", "text"], ["x.mp4", "a"], ["", "b"]])
    )
    assert "row 2" in error.message and str(tmp_path / "labels.csv") in error.message


def test_no_column_of_files_names_those_there_are(tmp_path: Path) -> None:
    error = refused(csv_file(tmp_path / "labels.csv", [["flie_name", "caption"], ["x.mp4", "a"]]))
    assert "caption" in error.message and "flie_name" in error.message
    assert "rename flie_name to file_name" in error.hint


def test_no_column_of_files_and_a_row_that_is_too_long(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "labels.csv", [["flie_name", "caption"], ["x.mp4", "a", "b"]])
    assert str(path) in refused(path).message


def test_a_caption_with_a_bare_comma_is_not_cut_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file_name,caption\nx.mp4,plain\ny.mp4,a red ball, bouncing\n")
    error = refused(path)
    assert "row 2" in error.message


@pytest.mark.parametrize("content", ["", "file_name,caption\n", "\n\n"])
def test_an_empty_file_is_named(tmp_path: Path, content: str) -> None:
    for name in ("labels.csv", "labels.jsonl"):
        (tmp_path / name).write_text(content if name.endswith("csv") else content.partition("f")[0])
        assert str(tmp_path / name) in refused(tmp_path / name).message


@pytest.mark.parametrize("line", ['{"file_name": "y.mp4"', "7", '"y.mp4"', "file_name,caption"])
def test_a_line_that_is_no_object_is_numbered(tmp_path: Path, line: str) -> None:
    (tmp_path / "labels.jsonl").write_text('{"file_name": "x.mp4"}\n\n' + line + "\n")
    error = refused(tmp_path / "labels.jsonl")
    assert f"{tmp_path / 'labels.jsonl'}, line 3" in error.message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "absent.csv") in refused(tmp_path / "absent.csv").message
    (tmp_path / "latin.csv").write_bytes("file_name,caption\nx.mp4,café\n".encode("latin-1"))
    assert str(tmp_path / "latin.csv") in refused(tmp_path / "latin.csv").message


def test_a_labels_file_is_found_by_itself(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    (tmp_path / "metadata.csv").mkdir()
    assert find(tmp_path) is None
    (tmp_path / "metadata.csv").rmdir()
    for name in reversed(FOUND_BY_ITSELF):
        (tmp_path / name).write_text("")
        assert find(tmp_path) == tmp_path / name


def test_class_folders_name_classes(tmp_path: Path) -> None:
    names = ["walk/a.mp4", "run/deep/b.mp4", "c.mp4"]
    notes = of_folders([tmp_path / name for name in names], tmp_path)
    assert notes == {"walk/a.mp4": Note(label="walk"), "run/deep/b.mp4": Note(label="run")}


def test_one_folder_is_no_class(tmp_path: Path) -> None:
    files = [tmp_path / "all/a.mp4", tmp_path / "all/b/c.mp4", tmp_path / "d.mp4"]
    assert of_folders(files, tmp_path) == {}
    assert of_folders([], tmp_path) == {}


def test_the_labels_of_the_shared_clips(shared: Path) -> None:
    notes = read(shared / "clips/actions/labels.csv")
    assert set(notes) == {path.name for path in (shared / "clips/actions").glob("*.mp4")}
    labels = [note.label for note in notes.values()]
    assert sorted(labels.count(label) for label in set(labels)) == [18] * 4
    assert all(note.caption for note in notes.values())
