"""Settings: YAML and `section.key=value` in, one strict frozen object out."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import pydantic
import yaml

from .errors import RecipeError, nearest

S = TypeVar("S", bound="Section")

# Numbers that a setting can hold.
Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, pydantic.Field(ge=1)]
Share = Annotated[float, pydantic.Field(ge=0, lt=1)]


class Section(pydantic.BaseModel):
    """A group of settings. Unknown keys are refused; a field's docstring is its help."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )

    def with_values(self, **values: Any) -> Self:
        """A copy with some settings changed, checked again."""
        return parse(type(self), {**self.model_dump(), **values}, type(self).__name__)


def parse(kind: type[S], values: Mapping[str, Any], where: str) -> S:
    """Checks `values` against a section's type.

    Raises:
        RecipeError: a key is unknown (the nearest known one is named) or a value is wrong;
            `where` is the dotted name of the section in the message.
    """
    try:
        return kind.model_validate(dict(values))
    except pydantic.ValidationError as error:
        problems = [_describe(kind, problem, where) for problem in error.errors()]
        hints = [hint for _, hint in problems if hint]
        raise RecipeError("; ".join(text for text, _ in problems), "; ".join(hints)) from error


def _describe(kind: type[Section], problem: Any, where: str) -> tuple[str, str]:
    location = [str(part) for part in problem["loc"]]
    name = ".".join([where, *location] if where else location)
    if problem["type"] == "extra_forbidden":
        owner: Any = kind
        for part in location[:-1]:
            field = owner.model_fields.get(part) if hasattr(owner, "model_fields") else None
            owner = _section(field.annotation) if field else None
        known = list(getattr(owner, "model_fields", {}))
        close = nearest(location[-1], known)
        prefix = name[: -len(location[-1])]
        hint = f"did you mean {prefix}{close}?" if close else f"known here: {', '.join(known)}"
        return f"{name} is not a setting", hint
    if problem["type"] == "missing":
        return f"{name} is not set", f"set it in the recipe or with --set {name}=VALUE"
    given = problem["input"]
    text = problem["msg"][:1].lower() + problem["msg"][1:]
    text = text.removeprefix("value error, ")
    if not name:
        return text, ""
    return f"{name} = {given!r}: {text}", help_of(kind, location)


def _section(annotation: Any) -> Any:
    """The section's type in an annotation: itself, or of `Section | None`."""
    choices = typing.get_args(annotation) or (annotation,)
    return next((c for c in choices if isinstance(c, type) and issubclass(c, Section)), None)


def help_of(kind: type[pydantic.BaseModel], location: Sequence[str]) -> str:
    """The docstring of a field as a hint, or ""."""
    field = kind.model_fields.get(location[0]) if location else None
    if field is None:
        return ""
    if len(location) > 1 and (inner := _section(field.annotation)):
        return help_of(inner, location[1:])
    return (
        f"{location[0]}: {' '.join((field.description or '').split())}" if field.description else ""
    )


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """Reads a YAML mapping.

    Raises:
        RecipeError: absent, not YAML, or not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{what} {path} cannot be read ({error})", "check the path") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{what} {path} is not YAML: {error}", "mend the line named") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise RecipeError(
            f"{what} {path} holds a {type(content).__name__}, not sections of settings"
        )
    return content


def override(tree: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """A copy of `tree` with each "section.key=value" applied; values are read as YAML.

    Raises:
        RecipeError: an assignment has no "=", or goes through something that is not a section.
    """
    tree = _copy(tree)
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise RecipeError(
                f"--set {assignment!r} has no value", "write it as --set section.key=value"
            )
        *sections, key = name.strip().split(".")
        place = tree
        for section in sections:
            if place.get(section) is None:
                place[section] = {}
            place = place[section]
            if not isinstance(place, dict):
                raise RecipeError(f"--set {name}: {section} is a value, not a section")
        try:
            place[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"--set {name}={text} is not a YAML value") from error
    return tree


def _copy(tree: Any) -> Any:
    return {key: _copy(value) for key, value in tree.items()} if isinstance(tree, dict) else tree


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names, with both values, where two dumped sections differ."""
    found = []
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key} is {before!r} there, {after!r} here")
    return found


def explain(section: Section, indent: int = 0) -> str:
    """A section's settings with their values, each with its docstring."""
    lines = []
    for name, field in type(section).model_fields.items():
        value, space = getattr(section, name), " " * indent
        text = " ".join((field.description or "").split())
        if isinstance(value, Section):
            lines += [f"{space}{name}:  # {text}", explain(value, indent + 2)]
        else:
            shown = "null" if value is None else str(value).replace("(", "[").replace(")", "]")
            lines.append(f"{space}{name}: {shown}  # {text}")
    return "\n".join(lines)
