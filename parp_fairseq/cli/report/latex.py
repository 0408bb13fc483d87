"""report.tex: the tables and pictures of a report, to be included in a paper."""

import re
from typing import Sequence

from .tables import Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex_report(sections: Sequence) -> str:
    """The sections as LaTeX; it needs the packages booktabs and graphicx."""
    texts = ["% Needs \\usepackage{booktabs,graphicx}. Written by `parp report --format latex`."]
    for section in sections:
        texts.append(f"\\section*{{{_escape(section.title)}}}")
        texts += [_as_latex(part) for part in section.parts]
    return "\n\n".join(texts) + "\n"


def _as_latex(part: object) -> str:
    if isinstance(part, Table):
        return part.latex
    if isinstance(part, tuple):
        caption, name = part
        return f"% {caption}\n\\includegraphics[width=\\columnwidth]{{{name}}}"
    return _escape(str(part))


def _escape(text: str) -> str:
    pattern = "[" + re.escape("".join(_SPECIAL)) + "]"
    return re.sub(pattern, lambda found: _SPECIAL[found[0]], text.replace("`", ""))
