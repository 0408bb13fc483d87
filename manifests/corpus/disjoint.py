"""Speakers and sentences that splits share: reporting them, and leaving them out."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from operator import attrgetter

from audio.clips import Skipped

from corpus.intake import Reading, Recording

KINDS = ("speakers", "sentences")


class HeldOut:
    """Speakers and sentences of the splits that were chosen so far.

    Attributes:
        left_out: the clips that `without` left out.
    """

    def __init__(self) -> None:
        self.speakers: dict[str, str] = {}  # speaker -> split
        self.sentences: dict[str, str] = {}  # words -> split
        self.left_out: list[Skipped] = []

    def add(self, split: str, utterances: Iterable[Reading | Recording]) -> None:
        for utterance in utterances:
            self.sentences.setdefault(utterance.words, split)
            if utterance.speaker:
                self.speakers.setdefault(utterance.speaker, split)

    def without(self, readings: Iterable[Reading], kinds: Collection[str]) -> Iterator[Reading]:
        """The readings that share no speakers or sentences with the splits chosen so far."""
        for reading in readings:
            by_speaker = self.speakers.get(reading.speaker) if "speakers" in kinds else None
            by_sentence = self.sentences.get(reading.words) if "sentences" in kinds else None
            if by_speaker:
                self.left_out.append(Skipped(reading.row.clip, f"its speaker is in {by_speaker}"))
            elif by_sentence:
                self.left_out.append(Skipped(reading.row.clip, f"its sentence is in {by_sentence}"))
            else:
                yield reading


def describe_leaks(splits: Mapping[str, Sequence[Recording]]) -> list[str]:
    """A line for each two splits that share speakers, and for each two that share sentences."""
    lines = []
    for kind, key in (("speakers", attrgetter("speaker")), ("sentences", attrgetter("words"))):
        for held_out, other in combinations(splits, 2):
            there = {key(recording) for recording in splits[other]} - {""}
            shared = [key(r) for r in splits[held_out] if key(r) in there]
            if shared:
                lines.append(
                    f"leak: {len(set(shared))} {kind} of {held_out}, in {len(shared)} of its"
                    f" {len(splits[held_out])} clips, are also in {other};"
                    f" --disjoint {kind} leaves them out of {other}"
                )
    return lines
