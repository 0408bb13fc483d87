"""HypothesesFile: hypotheses as JSON, with their scores and the times of their words."""

import json
from pathlib import Path as FilePath
from typing import Any, Dict, List, Optional, Sequence, Tuple

from parp_fairseq.pruning.replacing import replacing

from .emissions import Emission
from .path import Path, Spelling, Word


class HypothesesFile:
    """A file of JSON lines, one for each utterance, in the order of the manifest.

    The file appears when the last utterance is decoded, as a whole. A line is

        {"id": 3, "hypotheses": [{"score": -12.5, "emission_score": -9.1, "lm_score": -1.7,
         "tokens": "T W O |", "words": [{"word": "TWO", "start": 0.24, "end": 0.57}]}]}

    ``id`` counts the utterances of the manifest from 0. Times are in seconds. ``words`` is null
    where the symbols do not tell where a word ends, as phones without a lexicon.

    Args:
        path: the file to write. An existing one is replaced.
        total: number of utterances to expect.
        symbols: those of the target dictionary.
    """

    def __init__(self, path: FilePath, total: int, symbols: Sequence[str]):
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise ValueError(
                f"task.hypotheses_file is {path}: expected a file in a folder that exists"
            )
        self.path = path
        self.total = total
        self.symbols = symbols
        self.rows: Dict[int, Dict[str, Any]] = {}

    def add(
        self,
        ids: Sequence[int],
        emissions: Sequence[Emission],
        decoded: Sequence[Sequence[Tuple[Path, Spelling]]],
    ) -> None:
        """Take the hypotheses of a batch; write the file once all utterances are there."""
        for number, emission, hypotheses in zip(ids, emissions, decoded):
            self.rows[number] = {
                "id": number,
                "hypotheses": [
                    {
                        "score": path.score,
                        "emission_score": path.emission_score,
                        "lm_score": path.lm_score,
                        "tokens": " ".join(self.symbols[run.token] for run in spelling.runs),
                        "words": _timed(spelling.words, emission.frame_seconds),
                    }
                    for path, spelling in hypotheses
                ],
            }
        if len(self.rows) == self.total:
            self._write()

    def _write(self) -> None:
        with replacing(self.path) as partial:
            rows = (
                json.dumps(self.rows[number], ensure_ascii=False) for number in sorted(self.rows)
            )
            partial.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def _timed(
    words: Optional[Sequence[Word]], frame_seconds: Optional[float]
) -> Optional[List[Dict[str, Any]]]:
    if words is None:
        return None
    if frame_seconds is None:
        return [{"word": word.text} for word in words]
    return [
        {
            "word": word.text,
            "start": round(word.start * frame_seconds, 3),
            "end": round(word.end * frame_seconds, 3),
        }
        for word in words
    ]
