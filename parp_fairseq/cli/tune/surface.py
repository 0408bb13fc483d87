"""Surface: the error rate at each pair of weights."""

from argparse import Namespace
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from typing import List, Tuple

import editdistance
from tqdm import tqdm

from parp_fairseq.decoding import GreedySearch
from parp_fairseq.decoding.parallel import forked
from parp_fairseq.decoding.path import spell

from .emissions import Evaluated

_evaluated = None
"""In a worker, what it decodes."""


@dataclass(frozen=True)
class Surface:
    """Error rates as shares of the words in the references.

    Args:
        lm_weights: a row for each.
        word_scores: a column for each.
        rates: by row and column.
        greedy: of greedy decoding.
    """

    lm_weights: List[float]
    word_scores: List[float]
    rates: List[List[float]]
    greedy: float

    @property
    def best(self) -> Tuple[float, float]:
        """Weight and word score of the lowest rate; of equal ones, the smallest values."""
        pairs = product(enumerate(self.lm_weights), enumerate(self.word_scores))
        _, _, _, weight, score = min(
            (self.rates[i][j], abs(weight), abs(score), weight, score)
            for (i, weight), (j, score) in pairs
        )
        return weight, score


def measure(evaluated: Evaluated, args: Namespace) -> Surface:
    """Decode with each pair of weights."""
    lm_weights = sorted(set(args.lm_weights))
    word_scores = sorted(set(args.word_scores)) if args.decoder == "lexicon" else [0.0]
    pairs = list(product(lm_weights, word_scores))
    with ExitStack() as stack:
        if args.workers == 1 or evaluated.search.uses_device:
            _adopt(evaluated)
            rates = map(_error_rate, pairs)
        else:
            count = min(args.workers, len(pairs))
            pool = stack.enter_context(forked(count, _adopt, evaluated))
            rates = pool.map(_error_rate, pairs)
        found = list(tqdm(rates, "decoding", len(pairs), unit="pair", disable=None))
    width = len(word_scores)
    rows = [found[i : i + width] for i in range(0, len(found), width)]
    return Surface(lm_weights, word_scores, rows, _rate(evaluated, GreedySearch()))


def _adopt(evaluated: Evaluated) -> None:
    global _evaluated
    _evaluated = evaluated


def _error_rate(weights: Tuple[float, float]) -> float:
    _evaluated.search.set_weights(*weights)
    return _rate(_evaluated, _evaluated.search)


def _rate(evaluated: Evaluated, search) -> float:
    dictionary = evaluated.task.target_dictionary
    blank = dictionary.index(evaluated.task.blank_symbol)
    errors = 0
    for log_probs, reference in zip(evaluated.log_probs, evaluated.references):
        runs = spell(search(log_probs)[0], blank, dictionary.symbols).runs
        errors += editdistance.eval(reference, evaluated.words([run.token for run in runs]))
    return errors / sum(map(len, evaluated.references))
