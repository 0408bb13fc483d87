"""What two splits share. They must not share speakers or audio; they may share sentences."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Optional, TypeVar

from manifest.reading import LABELS, WORDS, Complain, Split

Key = TypeVar("Key", str, bytes)
OfSplit = Mapping[str, Sequence[Optional[Key]]]  # split -> key of each entry, None if unknown


def parts_of(splits: Sequence[Split]) -> set[str]:
    """Splits such as train_es whose files are all in a split named train."""
    files = {s.name: {s.root / entry.path for entry in s.entries} for s in splits}
    return {
        part
        for part in files
        for whole in files
        if part.startswith(f"{whole}_") and files[part] <= files[whole]
    }


def check_leaks(
    splits: Sequence[Split],
    speakers: OfSplit[str],
    digests: OfSplit[bytes],
    problem: Complain,
    warning: Complain,
) -> None:
    """Reports what two splits share.

    Args:
        splits: without those that are parts of others.
        speakers: the speaker of each file.
        digests: a digest of the samples of each file.
    """
    for split in splits:
        _check_alone(split, speakers[split.name], digests[split.name], warning)
    sentences = {split.name: _sentences(split) for split in splits}
    for first, second in combinations(splits, 2):
        for here, there in _shared(second.name, first.name, speakers):
            found = f"{speakers[second.name][here]!r} also speaks in {first.place(there)}"
            problem("speaker in two splits", second.place(here), found)
        for here, there in _shared(second.name, first.name, digests):
            found = f"{second.entries[here].path}: the audio of {first.place(there)}"
            problem("audio in two splits", second.place(here), found)
        shared = list(_shared(second.name, first.name, sentences))
        if shared:
            known = {sentences[second.name][here] for here, _ in shared}
            count = sum(sentence in known for sentence in sentences[second.name])
            share = f"{count} of {len(second.entries)} ({count / len(second.entries):.1%})"
            here, there = shared[0]
            found = f"{share} are also in {first.name}, the first at {first.place(there)}"
            warning("sentences in two splits", second.place(here), found)


def _check_alone(
    split: Split,
    speakers: Sequence[Optional[str]],
    digests: Sequence[Optional[bytes]],
    warning: Complain,
) -> None:
    unknown = speakers.count(None)
    if unknown:
        found = f"of {unknown} in {len(speakers)} files, so their leaks cannot be seen"
        warning("speakers not known", f"{split.name}.tsv", found)
    number_of: dict[bytes, int] = {}
    for number, digest in enumerate(digests):
        if digest is None:
            continue
        first = number_of.setdefault(digest, number)
        if split.entries[first].path != split.entries[number].path:
            found = f"{split.entries[number].path}: the audio of {split.place(first)}"
            warning("audio twice in a split", split.place(number), found)


def _sentences(split: Split) -> list[Optional[str]]:
    lines = next((split.labels[kind] for kind in (WORDS, *LABELS) if kind in split.labels), [])
    return [" ".join(line.split()) or None for line in lines]


def _shared(second: str, first: str, keys: OfSplit[Key]) -> Iterator[tuple[int, int]]:
    """For each key that two splits share, where it comes first in `second` and in `first`."""
    there = {key: number for number, key in reversed([*enumerate(keys[first])])}
    here = {key: number for number, key in reversed([*enumerate(keys[second])])}
    for key, number in sorted(here.items(), key=lambda item: item[1]):
        if key is not None and key in there:
            yield number, there[key]
