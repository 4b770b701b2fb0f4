"""When two numbers were made alike: the one rule of which manifests may be compared.

A manifest is a mapping of plain values, nested or not. Two of them are alike where all their fields
are, but for those that say whose clips were judged rather than how.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# The first words of names of fields that may differ: run, run_sampling, checkpoint_step, ...
SUBJECT = ("run", "checkpoint", "subject")
ABSENT = "absent"


def judged(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that must agree, nested ones by dotted names ("resize.filter").

    Only names at the top can speak of the subject: an extractor's own "checkpoint" is how clips
    were judged. 16.0 becomes 16 and a tuple a list, as both are the same in JSON.
    """
    own = {name: value for name, value in manifest.items() if name.split("_")[0] not in SUBJECT}
    return _flat(own, "")


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Names of the fields in which two manifests differ; one that only one has differs too."""
    one, other = judged(first), judged(second)
    return sorted(n for n in one.keys() | other.keys() if as_text(one, n) != as_text(other, n))


def as_text(fields: Mapping[str, Any], name: str) -> str:
    """A field of `judged` as text, the same for values that are alike and for no others."""
    if name not in fields:
        return ABSENT
    found = fields[name]
    text = json.dumps(found, sort_keys=True, default=str)
    return found if isinstance(found, str) and not _mistakable(found) else text


def _mistakable(text: str) -> bool:
    """Whether a string without its quotes would look like something else."""
    try:
        json.loads(text)
    except ValueError:
        return text == ABSENT
    return True


def _flat(table: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, entry in table.items():
        if isinstance(entry, Mapping) and entry:
            found |= _flat(entry, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = _plain(entry)
    return found


def _plain(entry: Any) -> Any:
    if isinstance(entry, Mapping):
        return {str(name): _plain(part) for name, part in entry.items()}
    if isinstance(entry, list | tuple):
        return [_plain(part) for part in entry]
    if hasattr(entry, "item") and getattr(entry, "ndim", 1) == 0:  # a number of numpy or torch
        entry = entry.item()
    return int(entry) if isinstance(entry, float) and entry.is_integer() else entry
