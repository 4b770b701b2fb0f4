from __future__ import annotations

import copy
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core.config import (
    Section,
    differences,
    explain,
    override,
    parse,
    read_yaml,
)
from muybridge.core.errors import RecipeError, nearest

NAMES = st.text("abcdefgh", min_size=1, max_size=4)
VALUES = st.integers() | st.booleans() | st.none() | st.text("xyz é'\"\\#:", max_size=8)
TREES = st.recursive(VALUES, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8)


class Words(Section):
    """How captions are read."""

    length: int = 16
    """Tokens in a caption."""
    lower: bool = False
    """Capitals are made small."""


class Network(Section):
    """What learns."""

    width: int = 64
    """Channels of each block."""
    patch: tuple[int, int] = (4, 8)
    """Pixels that one token covers."""
    rate: float = 1e-3
    """Of learning."""
    kind: Literal["wide", "deep"] = "wide"
    """Its form."""
    words: Words = Words()
    """Of captions."""
    other: Words | None = None
    """Of a second caption."""


class Needy(Section):
    """Something that has no default."""

    folder: str
    """Where it lies."""


def refused(kind: type[Section], where: str, /, **values: Any) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        parse(kind, values, where)
    return caught.value


def test_good_values_make_a_section() -> None:
    made = parse(Network, {"width": 8, "patch": [2, 4], "words": {"length": 3}}, "model")
    assert made == Network(width=8, patch=(2, 4), words=Words(length=3))
    assert made.kind == "wide"


@pytest.mark.parametrize(
    ("values", "name", "meant"),
    [
        ({"widht": 3}, "model.widht", "model.width"),
        ({"words": {"lenght": 3}}, "model.words.lenght", "model.words.length"),
        ({"other": {"lenght": 3}}, "model.other.lenght", "model.other.length"),
    ],
)
def test_an_unknown_key_names_the_nearest(values: dict[str, Any], name: str, meant: str) -> None:
    error = refused(Network, "model", **values)
    assert error.message == f"{name} is not a setting"
    assert error.hint == f"did you mean {meant}?"


@pytest.mark.parametrize("values", [{"zzz": 3}, {"words": {"zzz": 3}}, {"other": {"zzz": 3}}])
def test_an_unknown_key_like_none_lists_what_there_is(values: dict[str, Any]) -> None:
    error = refused(Network, "model", **values)
    for name in Network.model_fields if "zzz" in values else Words.model_fields:
        assert name in error.hint


@pytest.mark.parametrize(
    ("values", "name", "given"),
    [
        ({"width": "many"}, "model.width", "'many'"),
        ({"rate": None}, "model.rate", "None"),
        ({"kind": "wild"}, "model.kind", "'wild'"),
        ({"words": {"length": 1.5}}, "model.words.length", "1.5"),
        ({"words": 3}, "model.words", "3"),
        ({"patch": [1, "x"]}, "model.patch.1", "'x'"),
    ],
)
def test_a_wrong_value_is_named_and_shown(values: dict[str, Any], name: str, given: str) -> None:
    error = refused(Network, "model", **values)
    assert error.message.startswith(f"{name} = {given}: ")


@pytest.mark.parametrize(
    ("values", "help_text"),
    [
        ({"width": "many"}, "width: Channels of each block."),
        ({"patch": [1, "x"]}, "patch: Pixels that one token covers."),
        ({"words": {"length": "x"}}, "length: Tokens in a caption."),
    ],
)
def test_a_wrong_value_is_helped_by_its_docstring(values: dict[str, Any], help_text: str) -> None:
    assert refused(Network, "model", **values).hint == help_text


def test_all_that_is_wrong_is_told_at_once() -> None:
    error = refused(Network, "model", widht=3, rate="fast", words={"length": []})
    for name in ("model.widht", "model.rate", "model.words.length"):
        assert name in error.message


def test_what_is_missing_is_named() -> None:
    error = refused(Needy, "data")
    assert error.message == "data.folder is not set"
    assert "--set data.folder=" in error.hint


def test_a_section_is_frozen() -> None:
    section = Words()
    with pytest.raises(ValueError, match="frozen"):
        section.length = 3


def test_changed_values_are_checked_again() -> None:
    before = Network()
    assert before.with_values(width=3) == Network(width=3)
    assert before == Network()
    with pytest.raises(RecipeError, match="widht"):
        before.with_values(widht=3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("", None),
        ("[1, 2]", [1, 2]),
        ("{a: 1}", {"a": 1}),
        ("'3'", "3"),
        ("a=b", "a=b"),
        ("runs/first", "runs/first"),
    ],
)
def test_assigned_values_are_yaml(text: str, value: Any) -> None:
    assert override({}, [f"model.width={text}"]) == {"model": {"width": value}}


def test_numbers_as_people_write_them_are_numbers() -> None:
    made = parse(Network, override({}, ["rate=3e-4", "width=1_000"]), "model")
    assert (made.rate, made.width) == (3e-4, 1000)


def test_assignments_reach_into_sections_and_make_them() -> None:
    tree = {"model": {"width": 3, "words": None}, "seed": 1}
    made = override(tree, ["model.words.length=2", "data.a.b=x", "seed=5", " seed =6"])
    assert made == {
        "model": {"width": 3, "words": {"length": 2}},
        "seed": 6,
        "data": {"a": {"b": "x"}},
    }
    assert tree == {"model": {"width": 3, "words": None}, "seed": 1}


@given(st.dictionaries(NAMES, TREES, max_size=4), st.lists(NAMES, min_size=1, max_size=3), VALUES)
def test_an_assignment_changes_only_its_place(
    tree: dict[str, Any], path: list[str], value: Any
) -> None:
    before, expected = copy.deepcopy(tree), copy.deepcopy(tree)
    text = yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n")
    assignment = f"{'.'.join(path)}={text}"
    place: Any = expected
    for name in path[:-1]:
        if place.get(name) is None:
            place[name] = {}
        place = place[name]
        if not isinstance(place, dict):
            with pytest.raises(RecipeError, match=f"{name} is a value, not a section"):
                override(tree, [assignment])
            return
    place[path[-1]] = value
    assert override(tree, [assignment]) == expected
    assert tree == before


@pytest.mark.parametrize("assignment", ["model.width", "=3", " =3", ""])
def test_an_assignment_without_name_or_value_is_shown(assignment: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override({}, [assignment])
    assert repr(assignment) in caught.value.message
    assert "section.key=value" in caught.value.hint


def test_an_assignment_through_a_value_is_refused() -> None:
    with pytest.raises(RecipeError, match="width is a value, not a section"):
        override({"model": {"width": 3}}, ["model.width.more=3"])


def test_an_assignment_that_is_not_yaml_is_shown() -> None:
    with pytest.raises(RecipeError) as caught:
        override({}, ["model.patch=[1, 2"])
    assert "model.patch=[1, 2" in caught.value.message


@pytest.mark.parametrize("content", [None, b"a: [1", b"- a\n- b\n", b"\xff\xfe\x00", b"just words"])
def test_a_recipe_file_that_is_no_mapping_is_named(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | None
) -> None:
    path = tmp_path_factory.mktemp("recipes") / "mine.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        read_yaml(path, "recipe")
    assert f"recipe {path}" in caught.value.message


def test_a_recipe_file_is_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("recipes") / "mine.yaml"
    path.write_text("# nothing but a comment\n")
    assert read_yaml(path, "recipe") == {}
    path.write_text("model: {width: 3}\nname: é\n", encoding="utf-8")
    assert read_yaml(path, "recipe") == {"model": {"width": 3}, "name": "é"}


def leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= leaves(value, f"{prefix}.{key}" if prefix else key)
    return found


FLAT = st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(0, 2), min_size=1), max_size=3)


@given(FLAT, FLAT)
def test_differences_are_those_of_the_leaves(old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = leaves(old), leaves(new)
    # A whole section that is on one side only is told by its own name.
    expected = {
        name if name.partition(".")[0] in old.keys() & new.keys() else name.partition(".")[0]
        for name in before.keys() | after.keys()
        if (name in before, before.get(name)) != (name in after, after.get(name))
    }
    told = differences(old, new)
    assert sorted(line.partition(" is ")[0] for line in told) == sorted(expected)


def test_differences_show_both_values() -> None:
    old, new = {"model": {"width": 3, "depth": 2}, "a": 1}, {"model": {"width": 4, "depth": 2}}
    assert differences(old, new) == ["model.width is 3 there, 4 here", "a is 1 there, None here"]
    assert differences(old, old) == []


def test_explanations_hold_every_setting_with_value_and_help() -> None:
    lines = explain(Network(width=7)).splitlines()
    assert "width: 7  # Channels of each block." in lines
    assert "patch: [4, 8]  # Pixels that one token covers." in lines
    assert "  length: 16  # Tokens in a caption." in lines
    assert "other: null  # Of a second caption." in lines
    tree = yaml.safe_load("\n".join(lines))
    assert parse(Network, tree, "model") == Network(width=7)


def test_the_nearest_name_is_near() -> None:
    known = ["width", "height", "depth"]
    assert nearest("widht", known) == "width"
    assert nearest("heigth", known) == "height"
    assert nearest("zzz", known) == ""
    assert nearest("width", []) == ""
