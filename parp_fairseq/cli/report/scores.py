"""What fairseq-generate wrote about a split: error rates, and the errors of each utterance.

recipes/study/classify.py writes the same about the classes of sentences.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, NamedTuple, Optional

import editdistance

_RATE = re.compile(r"^Generate .*\b(?:WER|error rate): ([\d.]+|nan)\s*$", re.MULTILINE)
_LINE = re.compile(r"^([THD])-(\d+)\t(.*)$", re.MULTILINE)


class Errors(NamedTuple):
    """Counts of one utterance; edits are substitutions, insertions and deletions."""

    word_edits: int
    words: int
    character_edits: int
    characters: int


@dataclass(frozen=True)
class Score:
    """A model on one split.

    Attributes:
        error_rate: what was printed last, in percent: of words, of phones, or of classes.
        utterances: how many were scored.
        character_error_rate: in percent, spaces included; None if the file has no references.
        errors: number of the utterance in the manifest -> its counts; empty likewise.
    """

    error_rate: float
    utterances: int
    character_error_rate: Optional[float]
    errors: Dict[int, Errors]

    def rate(self, measure: str) -> Optional[float]:
        """In percent: ``cer`` is of characters, anything else what was printed."""
        return self.character_error_rate if measure == "cer" else self.error_rate


def is_scored(path: Path) -> bool:
    """Whether fairseq-generate finished its output."""
    return path.is_file() and bool(_RATE.search(path.read_text(errors="replace")))


def read_score(path: Path) -> Optional[Score]:
    """Read the output of fairseq-generate; None if it was cut short."""
    text = path.read_text(errors="replace")
    rates = _RATE.findall(text)
    if not rates:
        return None
    lines: Dict[str, Dict[int, str]] = {"T": {}, "H": {}, "D": {}}
    for kind, number, rest in _LINE.findall(text):
        lines[kind][int(number)] = rest
    errors = {}
    if lines["T"].keys() == lines["D"].keys():
        for number, reference in lines["T"].items():
            hypothesis = lines["D"][number].partition("\t")[2]
            errors[number] = _count(reference, hypothesis)
    characters = sum(one.characters for one in errors.values())
    edits = sum(one.character_edits for one in errors.values())
    return Score(
        error_rate=float(rates[-1]),
        utterances=len(lines["H"]),
        character_error_rate=100 * edits / characters if characters else None,
        errors=errors,
    )


def _count(reference: str, hypothesis: str) -> Errors:
    words = reference.split()
    spaced, heard = " ".join(words), hypothesis.split()
    return Errors(
        editdistance.eval(words, heard),
        len(words),
        editdistance.eval(spaced, " ".join(heard)),
        len(spaced),
    )
