"""A table of GLUE: a header, then a sentence or a pair of sentences and a class on each line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from manifest.lines import read_lines

# Columns of GLUE's tasks, with the class last. The first set that a header has counts. "content" is
# what a public copy of SST-2 calls the sentences of its validation set.
KNOWN = (
    ("sentence1", "sentence2", "label"),
    ("question", "sentence", "label"),
    ("question1", "question2", "is_duplicate"),
    ("#1 String", "#2 String", "Quality"),
    ("sentence", "label"),
    ("content", "label"),
)


@dataclass(frozen=True)
class Example:
    """A line of a table: one sentence or two, and their class."""

    sentences: tuple[str, ...]
    label: str


def read_examples(path: Path, columns: Optional[list[str]]) -> list[Example]:
    """Reads a table whose columns are separated by tabs. Quotation marks belong to the text.

    Args:
        columns: names of one or two columns with sentences, and that of the class last; None takes
            those of GLUE's tasks.

    Raises:
        ValueError: the file is missing or not UTF-8, lacks a column or all examples, or has a line
            with another number of columns, an empty sentence, or a class that is not one word. The
            message names the file and the line.
    """
    header: list[str] = []
    chosen: list[int] = []
    examples = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = [field.strip() for field in line.split("\t")]
        if number == 1:
            header = fields
            chosen = _places(path, header, columns)
            continue
        if len(fields) != len(header):
            raise ValueError(
                f"{path}, line {number}: {len(fields)} columns, expected {len(header)} as in line 1"
            )
        *sentences, label = (fields[place] for place in chosen)
        if not all(sentences):
            raise ValueError(f"{path}, line {number}: an empty sentence, expected some words")
        if len(label.split()) != 1:
            raise ValueError(f"{path}, line {number}: class {label!r}, expected one word")
        examples.append(Example(tuple(sentences), label))
    if not examples:
        raise ValueError(f"{path}: found no examples, expected some below the header")
    return examples


def _places(path: Path, header: list[str], columns: Optional[list[str]]) -> list[int]:
    known = [tuple(columns)] if columns else KNOWN
    for names in known:
        if set(names) <= set(header):
            return [header.index(name) for name in names]
    expected = " or ".join(", ".join(names) for names in known)
    raise ValueError(
        f"{path}, line 1: columns {', '.join(header)}; expected {expected}; --columns and"
        " --test-columns name others"
    )
