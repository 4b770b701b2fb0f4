"""Tables to copy: as Markdown, and as LaTeX that needs no package."""

# ruff: noqa: RUF001  (the signs that are to be replaced)

from __future__ import annotations

import re
from dataclasses import dataclass

# Rules as of booktabs where it is loaded, plain ones where it is not.
_RULES = r"""\providecommand{\toprule}{\hline}
\providecommand{\midrule}{\hline}
\providecommand{\bottomrule}{\hline}"""
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": "$<$", ">": "$>$", "|": "$|$", '"': "''", "[": "{[}", "]": "{]}", "*": "{*}",
    "`": r"\textasciigrave{}", "×": r"$\times$", "±": r"$\pm$", "−": "$-$", "·": r"$\cdot$",
    "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\to$", "²": "$^2$", "³": "$^3$", "°": r"$^\circ$",
    "µ": r"$\mu$", "–": "--", "—": "---", "…": r"\dots{}", "’": "'", "‘": "`", "“": "``",
    "”": "''",
}  # fmt: skip
# A number standing alone: its minus sign is no hyphen, its power of ten is written as one.
_NUMBER = re.compile(r"(?<![\w.,-])(-?)([0-9][0-9,]*(?:\.[0-9]+)?)(?:e([+-]?[0-9]+))?(?![\w.]*\w)")


@dataclass(frozen=True)
class Table:
    """Plain words in rows; the first column is text, the others are set as they are wide."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table as GitHub and most others read it."""
        lines = [self.heads, ("---",) * len(self.heads), *self.rows]
        cells = [[one if one == "---" else _markdown(one) for one in line] for line in lines]
        return "\n".join(f"| {' | '.join(line)} |" for line in cells)

    def latex(self) -> str:
        """The table as LaTeX, with or without the package booktabs."""
        lines = [" & ".join(map(latex_text, row)) + r" \\" for row in (self.heads, *self.rows)]
        head, *body = (f"    {line}" for line in lines)
        columns = "l" * len(self.heads)
        return "\n".join(
            [
                _RULES,
                r"\begin{table}",
                r"  \centering",
                rf"  \caption{{{latex_text(self.caption)}}}",
                rf"  \begin{{tabular}}{{{columns}}}",
                r"    \toprule",
                head,
                r"    \midrule",
                *body,
                r"    \bottomrule",
                r"  \end{tabular}",
                r"\end{table}",
            ]
        )


def latex_text(words: str) -> str:
    """Any words as LaTeX that prints them: no character is a command, numbers are set as such."""
    plain = _one_line(words)
    parts, end = [], 0
    for match in _NUMBER.finditer(plain):
        minus, digits, power = match.groups()
        grouped = digits.replace(",", "{,}")
        if power is not None:
            grouped = rf"{grouped}\times10^{{{int(power)}}}"
        if minus or power is not None:
            parts += [_escaped(plain[end : match.start()]), f"${minus}{grouped}$"]
            end = match.end()
    return "".join([*parts, _escaped(plain[end:])])


def _escaped(words: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in words).replace("--", "-{}-")


def _markdown(words: str) -> str:
    """Words of which no part is markup, nor ends the cell."""
    plain = re.sub(r"([\\|*`<>\[\]~$])", r"\\\1", _one_line(words))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", plain)


def _one_line(words: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())
