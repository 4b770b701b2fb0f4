"""Every second of the footage has one fate, and a table that does not add up is an error."""

from __future__ import annotations

from typing import Any

import pytest

from muybridge.core.errors import DataError
from muybridge.data import fates


def test_the_table_adds_up_in_all_and_by_split(footage: Any) -> None:
    pieces = fates.pieces(footage.items, footage.clips)
    table = fates.table(footage.items, pieces)
    arrived, kept, aside = table["in"], table["kept"], table["aside"]
    lengths = [item["facts"].get("seconds", 0.0) for item in footage.items]
    assert arrived == {"files": 10, "seconds": pytest.approx(sum(lengths)), "unknown": 1}
    assert kept["files"] + sum(row["files"] for row in aside) == 10
    assert kept["seconds"] + sum(row["seconds"] for row in aside) == pytest.approx(sum(lengths))
    assert kept["clips"] == len(footage.rows) == 8
    assert kept["groups"] == 5
    assert {name: side["clips"] for name, side in table["splits"].items()} == {
        "train": 6, "validation": 1, "test": 1
    }  # fmt: skip
    assert table["splits"]["train"]["seconds"] == pytest.approx(9.0)


def test_reasons_count_seconds_by_part_and_files_once(footage: Any) -> None:
    table = fates.table(footage.items, fates.pieces(footage.items, footage.clips))
    rows = {row["reason"]: row for row in table["aside"]}
    # The file of two reasons counts under the longer one, and touches both.
    assert rows["static"] == {
        "reason": "static", "files": 1, "touched": 1, "parts": 1, "seconds": 3.0
    }  # fmt: skip
    assert rows["black"] == {
        "reason": "black", "files": 0, "touched": 2, "parts": 2, "seconds": 1.5
    }  # fmt: skip
    assert rows["cannot be opened"]["files"] == 1
    assert [row["seconds"] for row in table["aside"]] == sorted(
        (row["seconds"] for row in table["aside"]), reverse=True
    )


def test_without_a_catalogue_there_are_no_splits(footage: Any) -> None:
    table = fates.table(footage.items, fates.pieces(footage.items, None))
    assert table["splits"] == {}
    assert table["kept"]["clips"] == 8


def test_what_a_later_stage_sets_aside_counts_under_its_reason(footage: Any) -> None:
    footage.rows[3] |= {"fate": "set aside", "reason": "no label: it was asked for", "split": ""}
    table = fates.table(footage.items, fates.pieces(footage.items, footage.clips))
    assert {row["reason"]: row["seconds"] for row in table["aside"]}["no label"] == 1.0
    assert table["kept"]["clips"] == 7


def _lose_a_part(footage: Any) -> None:
    del footage.items[2]["parts"][1]


def _lose_the_end(footage: Any) -> None:
    footage.items[0]["parts"].pop()


def _lengthen(footage: Any) -> None:
    footage.items[6]["facts"]["seconds"] += 0.04


def _forget_a_row(footage: Any) -> None:
    footage.rows.pop(3)


def _invent_a_row(footage: Any) -> None:
    footage.rows.append(footage.rows[0] | {"start": 99.0})


def _leak_a_group(footage: Any) -> None:
    footage.rows[0]["split"] = "test"


def _unknown_split(footage: Any) -> None:
    footage.rows[0]["split"] = "holdout"


def _no_reason(footage: Any) -> None:
    footage.items[6]["parts"][0]["reason"] = ""


def _no_fate(footage: Any) -> None:
    footage.items[9]["reason"] = ""


@pytest.mark.parametrize(
    ("breaking", "words"),
    [
        (_lose_a_part, "a part begins at 1.500 s, where 1.000 s is expected"),
        (_lose_the_end, "its parts are 1.750 s, the file is 2.750 s"),
        (_lengthen, "its parts are 4.000 s, the file is 4.040 s"),
        (_forget_a_row, "cats/b.mp4: the clip at 0.000 s is not in the catalogue"),
        (_invent_a_row, "a clip at 99.000 s that no part became"),
        (_leak_a_group, "groups of the splits: 5 in all, 6 by the rows"),
        (_unknown_split, "clips of the splits: 8 in all, 7 by the rows"),
        (_no_reason, "set aside without a reason"),
        (_no_fate, "empty.mp4: it has neither parts nor a reason"),
    ],
)
def test_sums_that_do_not_add_up_are_an_error(footage: Any, breaking: Any, words: str) -> None:
    breaking(footage)
    with pytest.raises(DataError, match="do not add up") as error:
        fates.table(footage.items, fates.pieces(footage.items, footage.clips))
    assert words in error.value.message


@pytest.mark.parametrize("row", ["kept", "aside"])
def test_a_table_that_counts_a_file_or_second_twice_is_refused(footage: Any, row: str) -> None:
    for what, by in (("files", 1), ("seconds", 0.5)):
        table = fates.table(footage.items, fates.pieces(footage.items, None))
        (table[row] if row == "kept" else table[row][0])[what] += by
        with pytest.raises(DataError, match=what):
            fates.check(table)
