"""The table of ``parp tune``, and the options to paste."""

import shlex
from argparse import Namespace

from tabulate import tabulate

from .emissions import decoder_options
from .surface import Surface


def print_result(surface: Surface, args: Namespace, is_test: bool) -> None:
    weight, score = surface.best
    headers = ["lm-weight \\ word-score", *(f"{s:g}" for s in surface.word_scores)]
    rows = [
        [f"{w:g}", *(f"{100 * rate:.2f}" for rate in rates)]
        for w, rates in zip(surface.lm_weights, surface.rates)
    ]
    align = ["right"] * len(headers)
    print(f"error rate on {args.split}, %\n")
    print(tabulate(rows, headers, disable_numparse=True, colalign=align))
    best = min(min(rates) for rates in surface.rates)
    print(f"\ngreedy {100 * surface.greedy:.2f} %, best {100 * best:.2f} %, with\n")
    found = ["--lm-weight", f"{weight:g}"]
    found += ["--word-score", f"{score:g}"] if args.decoder == "lexicon" else []
    print("  " + shlex.join([*decoder_options(args), *found]))
    for name, value, tried in (
        ("--lm-weights", weight, surface.lm_weights),
        ("--word-scores", score, surface.word_scores),
    ):
        # A language model that does not help has the weight 0, and that is no edge.
        if len(tried) > 1 and value in (tried[0], tried[-1]) and value != 0:
            print(f"\n{value:g} is at the edge of {name}: try values beyond it")
    if is_test:
        print(
            f"\nThese weights were chosen on {args.split}. Do not report an error rate on it: it "
            "would look better than it is"
        )
