"""95 % intervals of differences between models, by a paired bootstrap over test speakers.

A study of text draws sentences instead: each of them is a speaker of its own.

M. Bisani, H. Ney, *Bootstrap estimates for confidence intervals in ASR performance evaluation*,
ICASSP 2004. Both systems are compared on the same drawn speakers. The mean over the seeds is taken
before, so the interval says what other speakers would do, and not what other seeds would do. For
the seeds there is another interval, by Student's t.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Dict, List, Mapping, Optional, Tuple

from .runs import Cell, Study, title_of
from .scores import Score

_LIBRISPEECH = re.compile(r"(\d+)-\d+-\d{4}")  # SPEAKER-CHAPTER-UTTERANCE
_RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    """The difference of a method to the baseline, in percent points; below 0 is better.

    Attributes:
        difference: of the pooled error rates, the mean over the seeds that both have.
        low, high: ends of the 95 % interval over the speakers.
        speakers: how many.
        by_seed: the difference of each seed.
    """

    difference: float
    low: float
    high: float
    speakers: int
    by_seed: Tuple[float, ...]

    @property
    def seeds(self) -> int:
        """How many seeds."""
        return len(self.by_seed)

    @property
    def over_seeds(self) -> Optional[Tuple[float, float]]:
        """Ends of the 95 % interval over the seeds, by Student's t; None if there is one seed."""
        if self.seeds < 2:
            return None
        reach = float(_reach_of_t(self.seeds)) * stdev(self.by_seed)
        return mean(self.by_seed) - reach, mean(self.by_seed) + reach

    @property
    def seeds_needed(self) -> Optional[int]:
        """How many seeds would separate the difference from 0, if it and its spread stay.

        None: it is separated, exactly 0, or there is one seed. At most 1,000 are tried.
        """
        ends = self.over_seeds
        if ends is None or ends[0] > 0 or ends[1] < 0:
            return None
        import numpy as np

        numbers = np.arange(self.seeds + 1, 1001)
        reach = _reach_of_t(numbers) * stdev(self.by_seed)
        enough = numbers[reach < abs(mean(self.by_seed))]
        return int(enough[0]) if len(enough) else None

    @property
    def speakers_needed(self) -> Optional[int]:
        """How many speakers would separate the difference from 0, if it stays what it is.

        The interval narrows with the root of their number. None: it is separated, or exactly 0.
        """
        if self.difference == 0 or self.low > 0 or self.high < 0:
            return None
        towards_zero = self.low if self.difference > 0 else self.high
        reach = (self.difference - towards_zero) / self.difference
        return math.ceil(self.speakers * reach**2)


def _reach_of_t(values):
    """Half the 95 % interval of the mean of so many values with a standard deviation of 1.

    Args:
        values: a number, or an array of numbers.
    """
    from scipy.stats import t

    return t.ppf(0.975, values - 1) / values**0.5


Intervals = Dict[Tuple[Cell, str, str], Interval]


def intervals_of(intervals: Intervals, split: str, measure: str) -> Dict[Cell, Interval]:
    """Those of one split and measure, by cell."""
    return {cell: at for (cell, *of), at in intervals.items() if of == [split, measure]}


def read_intervals(study: Study) -> Tuple[Intervals, str]:
    """The intervals by cell, split and measure (``wer`` and ``cer``, ``per``, or ``error_rate``).

    Returns:
        The intervals, and why there are none; an empty text if there are some.
    """
    try:
        import scipy.stats  # noqa: F401
    except ModuleNotFoundError:
        return {}, "they need scipy: pip install 'parp_fairseq[study]'"
    compared = study.compared
    found: Intervals = {}
    why = f"no seed has both a model of {title_of(study.baseline)} and another one"
    for split in study.splits:
        config = next((run.log.config for run in study.runs if run.log.config), None)
        data = Path(str(config["task"].get("data", ""))) if config else Path()
        if study.classifies and study.runs:
            speakers = {number: str(number) for number in study.runs[0].scores[split].errors}
        else:
            speakers = speakers_of(data, split)
        if not speakers or len(set(speakers.values())) < 2:
            why = f"the speakers of {split} are not known, or there is only one"
            continue
        for cell in study.cells:
            pairs = [(run.scores[split], other.scores[split]) for run, other in study.pairs(cell)]
            if cell not in compared or not pairs:
                continue
            for measure in study.measures:
                interval = paired_interval(pairs, measure, speakers)
                if interval:
                    found[cell, split, measure] = interval
    return found, "" if found else why


def speakers_of(data: Path, split: str) -> Dict[int, str]:
    """Number of each utterance of the split -> its speaker; empty if one is not known.

    Args:
        data: the folder of manifests.
        split: SPLIT, or SPLIT+DECODER.
    """
    manifest, table = data / f"{split.partition('+')[0]}.tsv", data / "speakers.tsv"
    if not manifest.is_file():
        return {}
    _, *lines = manifest.read_text(encoding="utf-8").splitlines()
    paths = [line.split("\t")[0] for line in lines]
    rows = table.read_text(encoding="utf-8").splitlines()[1:] if table.is_file() else []
    named = dict(row.split("\t")[:2] for row in rows if "\t" in row)
    speakers: Dict[int, str] = {}
    for number, path in enumerate(paths):
        found = _LIBRISPEECH.fullmatch(Path(path).stem)
        speaker = named.get(path) or (found[1] if found else None)
        if speaker is None:
            return {}
        speakers[number] = speaker
    return speakers


def paired_interval(
    pairs: List[Tuple[Score, Score]], measure: str, speakers: Mapping[int, str]
) -> Optional[Interval]:
    """The difference of the first to the second of each pair; needs scipy.

    Args:
        pairs: scores of the same utterances, a pair for each seed.
        measure: ``cer`` counts characters, anything else words.
        speakers: number of each utterance -> its speaker.

    Returns:
        None if other utterances were scored than those of ``speakers``.
    """
    import numpy as np
    from scipy.stats import bootstrap

    differences: Dict[str, float] = dict.fromkeys(speakers.values(), 0.0)
    lengths: Dict[str, float] = dict.fromkeys(speakers.values(), 0.0)
    by_seed: List[float] = []
    for pair in pairs:
        of_seed, length_of_seed = 0.0, 0.0
        for sign, score in zip((1, -1), pair):
            errors = score.errors
            if errors.keys() != speakers.keys():  # another manifest than the one that was scored
                return None
            for number, counts in errors.items():
                of_characters = measure == "cer"
                edits = counts.character_edits if of_characters else counts.word_edits
                length = counts.characters if of_characters else counts.words
                differences[speakers[number]] += sign * edits
                lengths[speakers[number]] += length / 2
                of_seed += sign * edits
                length_of_seed += length / 2
        by_seed.append(100 * of_seed / length_of_seed)
    edits, length = (np.array(list(one.values())) for one in (differences, lengths))

    def pooled(edits, length, axis=-1):
        return 100 * edits.sum(axis=axis) / length.sum(axis=axis)

    drawn = bootstrap(
        (edits, length),
        pooled,
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = drawn.confidence_interval
    difference = float(pooled(edits, length))
    return Interval(difference, float(low), float(high), len(edits), tuple(by_seed))
