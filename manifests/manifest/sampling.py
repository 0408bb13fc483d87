"""Sampling weights of several corpora in training, and fairseq's options for them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from manifest.writing import write_lines

# fairseq asserts that the weights add up to 1. Multiples of 1/1024 do, without rounding errors.
PARTS = 1024


def sampling_weights(utterances: Sequence[int], alpha: float) -> list[float]:
    """Shares proportional to n^alpha, as multiples of 1/1024 that add up to 1 exactly."""
    powers = [count**alpha for count in utterances]
    ideal = [PARTS * power / sum(powers) for power in powers]
    parts = [max(1, int(share)) for share in ideal]
    # Give the remainder to the corpora that rounding down cost most. Take an excess, which comes
    # from raising small shares to 1, from the largest.
    while sum(parts) != PARTS:
        loss = [share - part for share, part in zip(ideal, parts)]
        if sum(parts) < PARTS:
            parts[loss.index(max(loss))] += 1
        else:
            parts[parts.index(max(parts))] -= 1
    return [part / PARTS for part in parts]


def write_options(path: Path, weight_of: Mapping[str, float]) -> None:
    """Writes the options with which fairseq samples train_KEY with the weight of KEY."""
    subset = ",".join(f"{key}:train_{key}" for key in weight_of)
    lines = [
        # Quoted, because Hydra splits values at a comma.
        f"dataset.train_subset='{subset}'",
        f"++task.multi_corpus_keys='{','.join(weight_of)}'",
        f"++task.multi_corpus_sampling_weights='{','.join(map(str, weight_of.values()))}'",
    ]
    write_lines(path, lines)
