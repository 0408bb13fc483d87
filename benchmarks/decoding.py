"""Decoding: 1,000 utterances on all cores, against a loop over the same decoder in one process.

The utterances are sentences of random words of the mini corpus, 20 ms a frame, with noise in the
emissions. The decoder has its words as the lexicon. Batches have 50 utterances.
"""

import csv
import json
import os
import sys
import time
from pathlib import Path
from typing import Dict, List

import numpy as np
import torch

from parp_fairseq.decoding.beam_search import BeamSearch, SearchOptions
from parp_fairseq.decoding.lexicon import Entry, Lexicon
from parp_fairseq.decoding.parallel import Workers

TRANSCRIPTS = Path(__file__).resolve().parents[1] / "manifests" / "mini" / "transcripts.tsv"
SYMBOLS = ["<blank>", "|", *"abcdefghijklmnopqrstuvwxyz'"]
BEAM, BATCH = 50, 50


def words_of_mini() -> List[str]:
    with TRANSCRIPTS.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return sorted({word for row in rows for word in row["words"].lower().split()})


def emission(rng: np.random.Generator, spellings: List[List[int]]) -> torch.Tensor:
    """Log-probabilities of a sentence, shape (frames, symbols): each symbol for 2 to 6 frames."""
    frames: List[int] = []
    for word in rng.integers(len(spellings), size=rng.integers(5, 25)):
        for symbol in spellings[word]:
            frames += [symbol] * int(rng.integers(1, 3)) + [0] * int(rng.integers(1, 5))
    logits = torch.from_numpy(rng.normal(size=(len(frames), len(SYMBOLS))).astype(np.float32))
    logits[range(len(frames)), frames] += 3
    return logits.log_softmax(1)


def measured(utterances: int) -> Dict:
    """Seconds of both, and whether the hypotheses are the same in the same order."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    words = words_of_mini()
    spellings = [[SYMBOLS.index(symbol) for symbol in f"{word}|"] for word in words]
    emissions = [emission(rng, spellings) for _ in range(utterances)]
    entries = [Entry(w, tuple(s), n) for n, (w, s) in enumerate(zip(words, spellings), 1)]
    options = SearchOptions(beam=BEAM, word_score=1.0)
    lexicon = Lexicon(Path("words of mini"), entries)
    search = BeamSearch(options, SYMBOLS, blank=0, separator=1, lexicon=lexicon)
    cores = len(os.sched_getaffinity(0))
    workers = Workers(search, cores)
    found, seconds = {}, {}
    for name, decode in (
        ("one process", lambda batch: [search(one) for one in batch]),
        ("all cores", workers.decode),
    ):
        start = time.perf_counter()
        batches = (emissions[at : at + BATCH] for at in range(0, utterances, BATCH))
        found[name] = [paths[0].word_ends for batch in batches for paths in decode(batch)]
        seconds[name] = time.perf_counter() - start
    return {
        "utterances": utterances,
        "cores": cores,
        "frames": sum(map(len, emissions)),
        "seconds": seconds,
        "same": found["one process"] == found["all cores"],
    }


if __name__ == "__main__":
    print(json.dumps(measured(**json.loads(sys.argv[2]))))
