"""Tables to copy: whatever the cells say is what is printed, as Markdown and as LaTeX."""

# ruff: noqa: RUF001  (the signs that are to be replaced)

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.report.tables import Table, latex_text

WORDS = st.text(st.characters(codec="utf-8", categories=["L", "P", "S", "Zs", "Cc"]), max_size=9)
HARD = 'a_b & 50% of #1 {x} $y$ ~ ^ \\ < > | " [1] * ` -- 3'
PRINTED = {
    r"\textbackslash": "\\", r"\textasciicircum": "^", r"\textasciitilde": "~",
    r"\textasciigrave": "`", r"\dots": "…", r"\times": "×", r"\pm": "±", r"\cdot": "·",
    r"\leq": "≤", r"\geq": "≥", r"\to": "→", r"\mu": "µ", "^2": "²", "^3": "³", r"^\circ": "°",
    "{": "", "}": "", "$": "", "{}": "", "^": "",
}  # fmt: skip
TOKEN = re.compile(
    r"(\^[23]|\^\\circ|\\[a-zA-Z]+)(?:\{\})?|\\([{}$&#%_])|(\{\}|[{}$]|\^(?=\{))|(.)"
)


def printed(latex: str) -> str:
    """What TeX would print of a cell; a command that it does not know is an error."""
    letters = []
    for token in TOKEN.finditer(latex):
        command, letter, syntax, other = token.groups()
        assert other is None or other not in r"\&#%_^~", latex
        letters.append(letter or other or PRINTED[command or syntax])
    marks = re.sub(r"\\.", "", latex)
    assert marks.count("$") % 2 == 0 and marks.count("{") == marks.count("}")
    return "".join(letters)


def cells(line: str) -> list[str]:
    """The cells of a line of Markdown, as they are read."""
    inner = re.split(r"(?<!\\)(?:\\\\)*\|", line.strip())[1:-1]
    return [re.sub(r"\\([^\w\s])|\\(_)", r"\1\2", cell).strip() for cell in inner]


def plain(words: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())


def test_markdown_has_a_line_a_row_and_says_what_the_cells_say() -> None:
    table = Table("t", ("name", "a|b"), ((HARD, "1"), ("line\nbreak", "<b>x</b>")))
    head, rule, *rows = table.markdown().split("\n")
    assert cells(head) == ["name", "a|b"] and set(rule) <= set("|- ")
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in (head, rule, *rows)] == [3] * 4
    assert cells(rows[1]) == ["line break", "<b>x</b>"]
    assert r"\<b\>" in rows[1]  # words, not a tag


@settings(max_examples=100, deadline=None)
@given(WORDS.filter(lambda words: "\\" not in words))
def test_no_words_break_a_markdown_row(words: str) -> None:
    *_, row = Table("t", ("a", "b"), ((words, "end"),)).markdown().split("\n")
    assert cells(row) == [plain(words), "end"]


@settings(max_examples=100, deadline=None)
@given(WORDS)
def test_latex_prints_the_words_whatever_they_are(words: str) -> None:
    # TeX's own signs for dashes and quotation marks.
    signs = {"−": "-", "‘": "`", "’": "'", "“": "``", "”": "''", '"': "''", "–": "--", "—": "---"}
    assert printed(latex_text(words)) == plain(words).translate(str.maketrans(signs))


@pytest.mark.parametrize(
    ("words", "latex"),
    [
        ("12%", r"12\%"),
        ("-0.3 to 1.5", r"$-0.3$ to 1.5"),
        ("1.37e+11", r"$1.37\times10^{11}$"),
        ("-2e-05 dB", r"$-2\times10^{-5}$ dB"),
        ("1,234", "1,234"),
        ("-1,234", "$-1{,}234$"),
        ("step-3", "step-3"),
        ("0x1e5", "0x1e5"),
        ("[a]", "{[}a{]}"),  # else read as the argument of the line break before it
        ("*", "{*}"),
    ],
)
def test_numbers_and_signs_are_set_as_such(words: str, latex: str) -> None:
    assert latex_text(words) == latex


def test_latex_has_three_rules_and_needs_no_package() -> None:
    text = Table("Scores of a_b", ("score", "value"), (("x & y", "1"), ("[z]", "2"))).latex()
    assert [text.count(rf"    \{rule}rule") for rule in ("top", "mid", "bottom")] == [1, 1, 1]
    assert all(rf"\providecommand{{\{r}rule}}" in text for r in ("top", "mid", "bottom"))
    assert "usepackage" not in text and r"\caption{Scores of a\_b}" in text
    body = text[text.index(r"\toprule", text.index("tabular")) : text.index(r"\end{tabular}")]
    rows = [line for line in body.split("\n") if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [1, 1, 1]
    assert text.count(r"\begin") == text.count(r"\end") == 2
    assert r"\begin{tabular}{ll}" in text
