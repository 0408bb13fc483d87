"""Small n-gram models for tests: random ARPA files, and a plain reader and scorer of them."""

import itertools
import math
from pathlib import Path
from typing import Dict, Sequence, Tuple

import numpy as np

Ngrams = Dict[Tuple[str, ...], Tuple[float, float]]


def write_arpa(path: Path, words: Sequence[str], seed: int, order: int = 3) -> Path:
    """A model with random scores. About half of the possible bigrams and trigrams are in it."""
    rng = np.random.default_rng(seed)
    levels = [[(word,) for word in ("<unk>", "<s>", "</s>", *words)]]
    for _ in range(1, order):
        shorter = set(levels[-1])
        levels.append(
            [
                (*context, word)
                for context, word in itertools.product(levels[-1], ("</s>", *words))
                if "</s>" not in context
                and "<unk>" not in context
                and (len(context) == 1 or (*context[1:], word) in shorter)
                and rng.random() < 0.6
            ]
        )
    lines = ["\\data\\", *(f"ngram {n}={len(level)}" for n, level in enumerate(levels, 1))]
    for n, level in enumerate(levels, 1):
        lines += ["", f"\\{n}-grams:"]
        for ngram in level:
            score = -99.0 if ngram == ("<s>",) else -float(rng.uniform(0.1, 2))
            has_backoff = n < order and ngram[-1] != "</s>"
            backoff = f"\t{-rng.uniform(0, 1):.4f}" if has_backoff else ""
            lines.append(f"{score:.4f}\t{' '.join(ngram)}{backoff}")
    path.write_text("\n".join([*lines, "", "\\end\\", ""]))
    return path


def read_arpa(path: Path) -> Ngrams:
    ngrams: Ngrams = {}
    for line in path.read_text().splitlines():
        fields = line.split("\t")
        if len(fields) > 1:
            backoff = float(fields[2]) if len(fields) > 2 else 0.0
            ngrams[tuple(fields[1].split())] = float(fields[0]), backoff
    return ngrams


def log10_probability(ngrams: Ngrams, sentence: Sequence[str]) -> float:
    """Of a whole sentence, its end included, by Katz's backing off."""
    known = [word if (word,) in ngrams else "<unk>" for word in sentence]
    padded = ["<s>", *known, "</s>"]
    longest = max(map(len, ngrams))
    return math.fsum(
        conditional(ngrams, tuple(padded[max(0, i - longest + 1) : i]), padded[i])
        for i in range(1, len(padded))
    )


def conditional(ngrams: Ngrams, context: Tuple[str, ...], word: str) -> float:
    if (*context, word) in ngrams:
        return ngrams[(*context, word)][0]
    return ngrams.get(context, (0.0, 0.0))[1] + conditional(ngrams, context[1:], word)
