from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core.errors import DataError
from muybridge.data.labels import (
    FOUND_BY_ITSELF,
    Note,
    boundaries,
    check,
    find,
    fitted,
    gather,
    of_clip,
    of_folders,
    read,
)

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
    expected = {name: [Note(text.strip(), label.strip())] for name, text, label in rows}
    assert read(path) == expected


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
    assert read(path) == {row["file_name"]: [Note(row["text"].strip())] for row in rows}


@pytest.mark.parametrize(
    ("header", "note"),
    [
        (("file_name", "caption", "label", "split"), Note("a", "b", split="test")),
        (("path", "text", "action", "split"), Note("a", "b", split="test")),
        (("video", "prompt", "class", "split"), Note("a", "b", split="test")),
        (("filename", "description", "category", "subset"), Note("a", "b", split="test")),
        (("Video Path", "Caption", "ACTION", "split"), Note("a", "b", split="test")),
        (("file", "colour", "shape", "fold"), Note()),
    ],
)
def test_columns_are_known_by_the_names_people_use(
    tmp_path: Path, header: tuple[str, ...], note: Note
) -> None:
    path = csv_file(tmp_path / "labels.csv", [list(header), ["x.mp4", "a", "b", "test"]])
    assert read(path) == {"x.mp4": [note]}


def test_our_name_of_a_column_goes_first(tmp_path: Path) -> None:
    rows = [["text", "caption", "path", "file_name"], ["theirs", "ours", "theirs.mp4", "ours.mp4"]]
    assert read(csv_file(tmp_path / "labels.csv", rows)) == {"ours.mp4": [Note("ours")]}


def test_what_a_spreadsheet_saves_is_read(tmp_path: Path) -> None:
    rows = [["file_name", "caption"], ["x.mp4", "a, b"]]
    expected = {"x.mp4": [Note("a, b")]}
    assert read(csv_file(tmp_path / "bom.csv", rows, encoding="utf-8-sig")) == expected
    assert read(csv_file(tmp_path / "tabs.tsv", rows, delimiter="\t")) == expected


def test_file_names_are_as_the_folder_says_them(tmp_path: Path) -> None:
    rows = [["file_name"], ["./a/b.mp4"], [" c.mp4 "], ["d//e.mp4"]]
    assert list(read(csv_file(tmp_path / "labels.csv", rows))) == ["a/b.mp4", "c.mp4", "d/e.mp4"]


@pytest.mark.parametrize(("value", "label"), [(0, "0"), (3, "3"), (None, ""), ("", ""), ("0", "0")])
def test_a_label_may_be_a_number(tmp_path: Path, value: object, label: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"file_name": "x.mp4", "label": value}) + "\n")
    assert read(path) == {"x.mp4": [Note(label=label)]}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("train", "train"), ("validation", "validation"), ("test", "test"), ("val", "validation"),
        ("valid", "validation"), ("", ""), ("Training", "train"), ("validate", "validation"),
    ],
)  # fmt: skip
def test_splits_are_known(tmp_path: Path, said: str, meant: str) -> None:
    path = csv_file(tmp_path / "labels.csv", [["file", "split"], ["x.mp4", said]])
    assert read(path)["x.mp4"][0].split == meant


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


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def gathered(
    footage: Path, names: Sequence[str], given: Path | None = None
) -> Mapping[str, Sequence[Note]]:
    return gather([footage / name for name in names], footage, given)


# Columns


def test_scene_action_and_objects_are_separate_and_licence_and_source_follow(
    tmp_path: Path,
) -> None:
    header = "file,text,action,objects,license,video_id,start_time,time_end"
    row = "x.mp4,a yard,throw,ball; pillar|ball ,CC-BY-4.0,abc,1.5,00:01:02.250"
    note = Note("a yard", "throw", ("ball", "pillar"), "", "abc", "CC-BY-4.0", 1.5, 62.25)
    assert read(written(tmp_path / "a.csv", f"{header}\n{row}\n")) == {"x.mp4": [note]}
    as_json = {
        "file_name": "x.mp4", "caption": "a yard", "label": "throw", "objects": ["ball", "pillar"],
        "licence": "CC-BY-4.0", "source": "abc", "start": 1.5, "end": "1:02,25",
    }  # fmt: skip
    path = written(tmp_path / "a.jsonl", json.dumps(as_json))
    assert read(path) == {"x.mp4": [note]}


@pytest.mark.parametrize(
    ("cell", "objects"),
    [
        ("ball", ("ball",)), ("red ball;box", ("red ball", "box")), ("", ()), (" ; ", ()),
        ('["a;b", "c"]', ("a;b", "c")), ("ball;ball", ("ball",)), ("ball, box", ("ball, box",)),
    ],
)  # fmt: skip
def test_objects_in_a_cell(tmp_path: Path, cell: str, objects: tuple[str, ...]) -> None:
    path = csv_file(tmp_path / "a.csv", [["file", "objects"], ["x.mp4", cell]])
    assert read(path)["x.mp4"][0].objects == objects


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_times_mean_the_same_however_they_are_written(
    tmp_path_factory: pytest.TempPathFactory, hours: int, minutes: int, seconds: int, part: int
) -> None:
    value = hours * 3600 + minutes * 60 + seconds + part / 1000
    forms: list[object] = [
        value, f"{value}", f"{hours}:{minutes:02}:{seconds:02}.{part:03}",
        f"{hours:02}:{minutes:02}:{seconds:02},{part:03}",
        f"{hours * 60 + minutes}:{seconds}.{part:03}",
    ]  # fmt: skip
    rows = [json.dumps({"file": f"{i}.mp4", "start": form}) for i, form in enumerate(forms)]
    path = tmp_path_factory.getbasetemp() / "times.jsonl"
    path.write_text("\n".join(rows))
    starts = [notes[0].start for notes in read(path).values()]
    assert starts == pytest.approx([value] * len(starts), abs=1e-6)


@pytest.mark.parametrize("value", ["soon", "1:60", "1:60:00", "-1", "nan", "1:2:3:4", "10s"])
def test_a_time_that_is_none_names_its_row_and_column(tmp_path: Path, value: str) -> None:
    rows = [["file", "time_start"], ["x.mp4", "0"], ["y.mp4", value]]
    error = refused(csv_file(tmp_path / "a.csv", rows))
    for told in ("row 2", "time_start", repr(value)):
        assert told in error.message
    assert "hh:mm:ss" in error.hint


@pytest.mark.parametrize(("start", "end"), [("3", "2"), ("3", "3"), ("", "0")])
def test_what_ends_before_it_starts_is_refused(tmp_path: Path, start: str, end: str) -> None:
    rows = [["file", "start", "end"], ["x.mp4", start, end]]
    assert "row 1" in refused(csv_file(tmp_path / "a.csv", rows)).message


def test_several_rows_of_a_file_are_several_notes(tmp_path: Path) -> None:
    rows = [["file", "label", "start", "end"], ["x.mp4", "a", "0", "1"], ["x.mp4", "b", "1", ""]]
    path = csv_file(tmp_path / "a.csv", [*rows, rows[-1]])
    one, two = Note(label="a", start=0, end=1), Note(label="b", start=1)
    assert read(path) == {"x.mp4": [one, two]}


@pytest.mark.parametrize("column", ["caption", "label", "file_name"])
def test_a_list_where_one_value_belongs_names_its_place(tmp_path: Path, column: str) -> None:
    path = written(tmp_path / "a.jsonl", json.dumps({"file_name": "x", column: ["a", "b"]}))
    error = refused(path)
    assert "row 1" in error.message and column in error.message


def test_columns_that_are_not_used_are_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"file": f"{i}.mp4", "colour": "red", "text": "a", "caption": "b"} for i in range(5)]
    read(written(tmp_path / "a.jsonl", "\n".join(json.dumps(row) for row in rows)))
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "colour, text" in told and str(tmp_path / "a.jsonl") in told


# Published sets

KINETICS = """label,youtube_id,time_start,time_end,split,is_cc
abseiling,0347ZoDXyP0,95,105,train,0
"playing, guitar",-3B_2lodo2M,5,15,val,1
"""


def test_kinetics_tables_name_videos_by_id(tmp_path: Path) -> None:
    written(tmp_path / "train.csv", KINETICS)
    names = ["abseiling/0347ZoDXyP0_000095_000105.mp4", "val/-3B_2lodo2M.mkv", "other.mp4"]
    notes = gathered(tmp_path, names)
    cut = Note(label="abseiling", split="train", source="0347ZoDXyP0")
    whole = Note("", "playing, guitar", (), "validation", "-3B_2lodo2M", "", 5, 15)
    assert notes == {names[0]: [cut], names[1]: [whole], "other.mp4": []}
    # The same video's own ten seconds, under its id alone: the times were the video's.
    assert fitted([whole], 10.01) == [Note("", "playing, guitar", (), "validation", whole.source)]
    assert fitted([whole], 60) == [whole]
    assert fitted([whole], 15.2) == [whole]


def test_excerpts_of_one_video_have_their_own_rows(tmp_path: Path) -> None:
    rows = "label,youtube_id,time_start,time_end\na,abc,0,10\nb,abc,20,30\n"
    names = ["abc_000000_000010.mp4", "abc_000020_000030.mp4"]
    notes = gathered(tmp_path, names, written(tmp_path / "validate.csv", rows))
    assert [notes[name] for name in names] == [
        [Note(label=label, split="validation", source="abc")] for label in "ab"
    ]


def test_ucf_lists_are_read_together_with_their_classes_and_sources(tmp_path: Path) -> None:
    one, two = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01", "YoYo/v_YoYo_g01_c02"
    lists = tmp_path / "ucfTrainTestlist"
    written(lists / "trainlist01.txt", f"{one}.avi 1\n")
    written(lists / "testlist01.txt", f"{two}.avi\n")
    written(lists / "trainlist02.txt", f"{two}.avi 2\n")
    written(lists / "classInd.txt", "1 Apply Eye Makeup\n2 YoYo\n")
    expected = {
        f"{one}.avi": [
            Note(label="Apply Eye Makeup", split="train", source="v_ApplyEyeMakeup_g08")
        ],
        f"{two}.avi": [Note(label="YoYo", split="test", source="v_YoYo_g01")],
    }
    for told in (None, lists, lists / "trainlist01.txt", lists / "testlist01.txt"):
        assert gathered(tmp_path, list(expected), told) == expected
    # In a folder of their own, without folders, or encoded anew, they are the same videos.
    for form in ("UCF-101/{}.avi", "{}.mp4"):
        names = [form.format(name) for name in (one, two)]
        assert list(gathered(tmp_path, names, lists).values()) == list(expected.values())
    flat = gathered(tmp_path, ["v_YoYo_g01_c02.avi"], lists)
    assert flat == {"v_YoYo_g01_c02.avi": expected[f"{two}.avi"]}


def test_clips_of_one_source_say_so_without_a_list(tmp_path: Path) -> None:
    names = ["Fencing/v_Fencing_g08_c01.avi", "YoYo/v_YoYo_g08_c01.avi", "YoYo/a.avi"]
    sources = [notes[0].source for notes in gathered(tmp_path, names).values()]
    assert sorted(sources) == ["", "v_Fencing_g08", "v_YoYo_g08"]


@pytest.mark.parametrize(
    ("line", "name", "label"),
    [
        ("a/x.mp4 3", "a/x.mp4", "3"), ("a b/x y.mp4 3", "a b/x y.mp4", "3"),
        ("x.mp4 playing guitar", "x.mp4", "playing guitar"), ("x.mp4,run", "x.mp4", "run"),
        ("x.mp4\trun", "x.mp4", "run"), ("x.mp4", "x.mp4", ""), ("frames/x 7", "frames/x", "7"),
        ("x.mp4.old.mp4 1", "x.mp4.old.mp4", "1"), ("only", "only", ""),
        ("v_YoYo_g01_c01.avi 101", "v_YoYo_g01_c01.avi", "YoYo"),
    ],
)  # fmt: skip
def test_lists_of_path_and_label(tmp_path: Path, line: str, name: str, label: str) -> None:
    assert read(written(tmp_path / "list.txt", f"{line}\n")) == {name: [Note(label=label)]}
    if ".mp4" in line:  # some call such a list a table
        assert read(written(tmp_path / "list.csv", line)) == {name: [Note(label=label)]}


def test_classes_by_number(tmp_path: Path) -> None:
    path = written(tmp_path / "val.txt", "x.mp4 0\ny.mp4 1\n")
    written(tmp_path / "classes.txt", "run\nwalk the dog\n")
    assert [notes[0].label for notes in read(path).values()] == ["run", "walk the dog"]
    assert {notes[0].split for notes in read(path).values()} == {"validation"}
    error = refused(written(tmp_path / "val.txt", "x.mp4 0\ny.mp4 2\n"))
    assert "line 2" in error.message and "class 2" in error.message and "0 to 1" in error.hint


# Finding and matching


def test_a_labels_file_is_found_by_itself(tmp_path: Path) -> None:
    assert find(tmp_path) == []
    (tmp_path / "metadata.csv").mkdir()
    assert find(tmp_path) == []
    (tmp_path / "metadata.csv").rmdir()
    for name in reversed(FOUND_BY_ITSELF):
        written(tmp_path / name, "")
        assert find(tmp_path) == [tmp_path / name]
    written(tmp_path / "train/metadata.csv", "")
    assert find(tmp_path) == [tmp_path / FOUND_BY_ITSELF[0]]


def test_a_table_of_a_common_name_is_only_taken_for_labels_when_it_is(tmp_path: Path) -> None:
    written(tmp_path / "test.csv", "epoch,loss\n1,0.5\n")
    assert find(tmp_path) == []
    written(tmp_path / "train.csv", "a.mp4 3\n")
    written(tmp_path / "val.csv", KINETICS)
    assert find(tmp_path) == [tmp_path / "train.csv", tmp_path / "val.csv"]


def test_each_split_may_have_its_own_metadata(tmp_path: Path) -> None:
    """File names are relative to the metadata's own folder, and the folder is the split."""
    written(tmp_path / "train/metadata.jsonl", '{"file_name": "walk/a.mp4", "text": "one"}\n')
    written(tmp_path / "val/metadata.csv", "file_name,text\na.mp4,two\n")
    written(tmp_path / "test/metadata.csv", "file_name,text\n./b/a.mp4,three\n")
    names = ["train/walk/a.mp4", "val/a.mp4", "test/b/a.mp4", "test/unknown.mp4"]
    assert gathered(tmp_path, names) == {
        names[0]: [Note("one", split="train")],
        names[1]: [Note("two", split="validation")],
        names[2]: [Note("three", split="test")],
        names[3]: [Note(split="test")],
    }


def test_a_split_column_is_stronger_than_the_folder(tmp_path: Path) -> None:
    written(tmp_path / "metadata.csv", "file_name,split\ntrain/a.mp4,test\ntest/b.mp4,\n")
    notes = gathered(tmp_path, ["train/a.mp4", "test/b.mp4"])
    assert [own[0].split for own in notes.values()] == ["", "test"]


def test_files_are_matched_by_the_end_of_their_way_and_never_by_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["x.mp4", "b/y.mp4", "/old/set/a/z.mp4", "twice.mp4", "c/w.mp4", "a\\v.mp4", "gone.mp4"]
    path = csv_file(tmp_path / "l.csv", [["file", "text"], *([name, name] for name in said)])
    names = [
        "deep/x.mp4", "set/b/y.mp4", "new/a/z.mp4", "a/twice.mp4", "b/twice.mp4", "d/w.mp4",
        "a/v.mp4",
    ]  # fmt: skip
    notes = gathered(tmp_path, names, path)
    known = {name: own[0].caption for name, own in notes.items() if own}
    assert known == {
        "deep/x.mp4": said[0], "set/b/y.mp4": said[1], "new/a/z.mp4": said[2], "a/v.mp4": said[5],
    }  # fmt: skip
    told = capsys.readouterr().err
    assert "2 of its names are of no video here" in told and "1 could be of several" in told


def test_a_name_as_it_stands_goes_before_any_likeness(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "l.csv", [["file", "text"], ["a.mp4", "one"], ["b/a.mp4", "two"]])
    notes = gathered(tmp_path, ["a.mp4", "b/a.mp4", "b/a.avi"], path)
    assert notes == {"a.mp4": [Note("one")], "b/a.mp4": [Note("two")], "b/a.avi": []}


def test_a_labels_file_of_other_footage_is_refused(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "l.csv", [["file", "text"], ["y.mp4", "a"]])
    with pytest.raises(DataError) as caught:
        gathered(tmp_path, ["x.mp4"], path)
    for told in ("'y.mp4'", "'x.mp4'", str(path)):
        assert told in caught.value.message


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no labels file"):
        gathered(tmp_path, ["x.mp4"], tmp_path / "empty")


# Folders


def test_class_folders_name_classes(tmp_path: Path) -> None:
    names = ["walk/a.mp4", "run/deep/b.mp4", "c.mp4"]
    notes = of_folders([tmp_path / name for name in names], tmp_path)
    assert notes == {"walk/a.mp4": Note(label="walk"), "run/deep/b.mp4": Note(label="run")}
    assert gathered(tmp_path, names)["walk/a.mp4"] == [Note(label="walk")]
    assert gathered(tmp_path, names)["c.mp4"] == []


def test_one_folder_is_no_class(tmp_path: Path) -> None:
    files = [tmp_path / "all/a.mp4", tmp_path / "all/b/c.mp4", tmp_path / "d.mp4"]
    assert of_folders(files, tmp_path) == {}
    assert of_folders([], tmp_path) == {}


def test_class_folders_below_split_folders(tmp_path: Path) -> None:
    names = ["train/walk/a.mp4", "Val/run/b.mp4", "test/walk/d/c.mp4", "test/d.mp4"]
    assert of_folders([tmp_path / name for name in names], tmp_path) == {
        names[0]: Note(label="walk", split="train"),
        names[1]: Note(label="run", split="validation"),
        names[2]: Note(label="walk", split="test"),
        names[3]: Note(split="test"),
    }


def test_a_split_folder_alone_asks_for_nothing(tmp_path: Path) -> None:
    names = ["train/walk/a.mp4", "train/run/b.mp4"]
    notes = of_folders([tmp_path / name for name in names], tmp_path)
    assert notes == {names[0]: Note(label="walk"), names[1]: Note(label="run")}


def test_train_may_be_a_class(tmp_path: Path) -> None:
    names = ["car/a.mp4", "train/b.mp4", "bus/c.mp4"]
    notes = of_folders([tmp_path / name for name in names], tmp_path)
    assert [note.label for note in notes.values()] == ["car", "train", "bus"]
    assert not any(note.split for note in notes.values())


# Clips of a file

TIME = st.integers(0, 12)
TIMED = st.builds(
    lambda label, caption, start, length: Note(
        caption, label, start=start, end=None if length is None else start + length
    ),
    st.sampled_from("ab"),
    st.sampled_from(["", "c"]),
    TIME,
    st.none() | st.integers(1, 6),
)


def test_a_note_without_times_holds_for_all(tmp_path: Path) -> None:
    note = Note("a", "b", ("c",), "test", "s", "l")
    assert of_clip([note], 3, 4) == note
    assert of_clip([], 0, 1) == Note()


@pytest.mark.parametrize(
    ("start", "end", "label"),
    [
        (0, 2, "a"),
        (1, 3, "a"),
        (1.1, 3.1, ""),
        (4, 6, "b"),
        (3, 5, "b"),
        (2.9, 4.9, ""),
        (8, 99, "b"),
    ],
)
def test_a_timed_note_holds_where_it_covers_half_of_the_clip(
    start: float, end: float, label: str
) -> None:
    notes = [Note(label="a", start=0, end=2), Note(label="b", start=4)]
    assert of_clip(notes, start, end).label == label


def test_which_caption_stands() -> None:
    whole, long = Note("whole"), Note("long", start=0, end=9)
    short, late = Note("short", start=0, end=4), Note("late", start=1, end=4)
    assert of_clip([whole, late], 0, 4).caption == "late"  # for the stretch before for the file
    assert of_clip([late, short], 0, 4).caption == "short"  # covers more
    assert of_clip([long, short], 0, 4).caption == "short"  # the shorter stretch
    assert of_clip([whole, Note("second")], 0, 4).caption == "whole"  # the earlier row
    assert of_clip([whole, Note(label="b", start=0, end=4)], 0, 4) == Note("whole", "b")


def test_objects_are_united_and_licences_kept() -> None:
    notes = [
        Note(objects=("ball",), licence="MIT", source="one"),
        Note(objects=("box", "ball"), licence="CC0", start=0, end=4),
        Note(objects=("cat",), licence="GPL", split="test", start=8, end=9),
    ]
    note = of_clip(notes, 0, 4)
    assert note.objects == ("ball", "box")
    assert set(note.licence.split(" AND ")) == {"MIT", "CC0"}
    # What is of the file follows clips that no note covers.
    far = of_clip([Note(label="a", licence="MIT", source="s", start=0, end=1)], 5, 9)
    assert far == Note(licence="MIT", source="s")
    assert note.source == "one" and note.split == "test"
    sides = [Note(split="validation"), Note(split="test", start=0, end=1), Note(split="train")]
    assert of_clip(sides, 5, 9).split == "test"


@given(st.lists(TIMED, max_size=5))
def test_no_clip_between_cuts_straddles_two_actions(notes: list[Note]) -> None:
    """Counted in quarters of a second, without intervals: what goes on is the same throughout."""
    cuts = boundaries(notes)
    assert cuts == sorted(set(cuts)) and all(cut > 0 for cut in cuts)

    def going_on(time: float) -> set[tuple[str, str]]:
        return {
            (n.label, n.caption)
            for n in notes
            if (n.start or 0) <= time and (n.end is None or time < n.end)
        }

    moments = [i / 4 + 1 / 8 for i in range(100)]
    changed = [b - 1 / 8 for a, b in pairwise(moments) if going_on(a) != going_on(b)]
    assert cuts == changed


def test_where_to_cut() -> None:
    notes = [
        Note("a yard"), Note(label="a", start=0, end=2), Note(label="a", start=2, end=3),
        Note(label="b", start=5), Note(objects=("ball",), start=6, end=7),
    ]  # fmt: skip
    assert boundaries(notes) == [3, 5]
    assert boundaries([Note(label="a", end=3)]) == [3]
    assert boundaries([Note(label="a")]) == boundaries([]) == []


# The check


def labelled(**counts: int) -> dict[str, list[Note]]:
    return {
        f"{label}{i}.mp4": [Note(label=label.replace("__", " "))]
        for label, count in counts.items()
        for i in range(count)
    }


def test_good_labels_give_no_warning() -> None:
    assert check(labelled(wave_one_hand=18, wave_two_hands=18, jumping_jack=3)) == []
    assert check(labelled(class1=3, class2=30)) == []  # a number tells names apart
    assert check(labelled(run=3, sun=30)) == []  # so does a letter of a short word
    assert check(labelled(walking=10, talking=12)) == []  # as frequent: two words
    assert check({"x.mp4": [], "y.mp4": []}) == []
    assert check({}) == []


@pytest.mark.parametrize("slip", ["wavve", "wvae", "wav", "waver", "Wave", "waves", "WAVE_"])
def test_slips_are_seen(slip: str) -> None:
    warnings = check(labelled(**{"wave": 20, slip: 3}))
    assert len(warnings) == 1
    assert repr(slip) in warnings[0] and "'wave'" in warnings[0]


@pytest.mark.parametrize("other", ["jumping__jack", "Jumping_Jack", "jumping-jacks", "jumpingjack"])
def test_other_spellings_are_seen_however_frequent(other: str) -> None:
    warnings = check(labelled(**{"jumping_jack": 10, other: 9}))
    assert len(warnings) == 1 and "'jumping_jack' (10)" in warnings[0]


def test_missing_and_rare_labels_are_counted() -> None:
    notes = labelled(run=5, clap=2) | {"x.mp4": [], "y.mp4": [Note(objects=("a",))]}
    missing, rare = check(notes)
    assert missing.startswith("2 of 9 files have no label") and "x.mp4, y.mp4" in missing
    assert "'clap'" in rare and "2 clips" in rare
    (captions,) = check({"x.mp4": [Note("a")], "y.mp4": [Note()]})
    assert "1 of 2 files have no caption: y.mp4" in captions


def test_labels_are_held_against_a_vocabulary() -> None:
    warnings = check(labelled(wave=9, Runs=9, zzz=9), ["run", "wave", "clap"])
    assert len(warnings) == 2
    assert "'Runs' (9)" in warnings[0] and "'run'" in warnings[0]
    assert "'zzz'" in warnings[1] and "nearest" not in warnings[1]


def test_many_warnings_are_summed_up() -> None:
    warnings = check(labelled(**{f"{chr(97 + i) * 4}{i}": 1 for i in range(26)}))
    assert len(warnings) == 11 and warnings[-1] == "and 16 more labels too rare to be in all splits"


def test_the_labels_of_the_shared_clips(shared: Path) -> None:
    folder = shared / "clips/actions"
    files = sorted(folder.glob("*.mp4"))
    notes = gather(files, folder)
    assert list(notes) == [file.name for file in files]
    labels = [own[0].label for own in notes.values()]
    assert sorted(labels.count(label) for label in set(labels)) == [18] * 4
    assert all(own[0].caption for own in notes.values())
    assert check(notes) == []
