"""From the rows of a table to utterances. Bad text and bad audio are left out."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Optional

from audio.clips import Clip, Skipped, convert_all
from audio.files import RATE, BadAudio, read_header
from manifest.writing import Utterance
from text.phones import Phonemizer
from text.sentences import BadText, Language, normalise

from corpus.rows import Row

TOLERANCE = 0.15  # seconds: decoders disagree about the first and the last frames of an MP3


class Reading(NamedTuple):
    """A row with usable text. Its audio is still to be converted."""

    row: Row
    words: str
    phones: str  # empty when no phones are asked for

    @property
    def speaker(self) -> str:
        return self.row.speaker


@dataclass(frozen=True)
class Recording(Utterance):
    """A line of a manifest, and what else is known of it."""

    phones: str
    speaker: str


def flac_name(clip: str) -> str:
    """The path of a converted clip."""
    return str(Path(clip).with_suffix(".flac"))


@dataclass
class Intake:
    """Takes rows in, and keeps account of what it changed and skipped.

    Attributes:
        clips: folder of the audio files.
        root: folder of the converted files.
        phonemizer: None if no phones are asked for.
        jobs: threads.
        durations: clip -> seconds, as the publisher says. A clip that is shorter is skipped.
        lowest_rate: sample rate in Hz below which a clip is skipped.
        name_of: clip -> path of the converted file, relative to `root`.
        spell: words -> the same words, as labels spell them.
        sentences: how many sentences were read.
        changed: how many of them each step of `text.normalise` changed.
        skipped: clips that are left out.
    """

    clips: Path
    root: Path
    language: Language
    phonemizer: Optional[Phonemizer]
    jobs: int
    durations: Mapping[str, float] = field(default_factory=dict)
    lowest_rate: int = RATE
    name_of: Callable[[str], str] = flac_name
    spell: Callable[[str], str] = str
    sentences: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    skipped: list[Skipped] = field(default_factory=list)

    def read(self, rows: Iterable[Row], split: str) -> Iterator[Reading]:
        """The words, and the phones, of each row that has usable ones."""
        for row in rows:
            self.sentences += 1
            try:
                words = normalise(row.sentence, self.language, self.changed)
                phones = self.phonemizer(words) if self.phonemizer else ""
                yield Reading(row, self.spell(words), phones)
            except BadText as error:
                self.skipped.append(Skipped(row.clip, str(error), split))

    def convert(self, readings: Iterable[Reading], split: str) -> list[Recording]:
        """Converts the audio of each reading. Leaves out those whose audio is bad."""
        readings = list(readings)
        names = [self.name_of(reading.row.clip) for reading in readings]
        clips = [Clip(self.clips / r.row.clip, name) for r, name in zip(readings, names)]
        converted = convert_all(clips, self.root, self.jobs, self.lowest_rate)
        recordings = []
        for (row, words, phones), name, frames in zip(readings, names, converted):
            fault = frames if isinstance(frames, BadAudio) else self._cut_short(row.clip, frames)
            if fault is not None:
                self.skipped.append(Skipped(row.clip, str(fault), split))
            else:
                recordings.append(Recording(name, frames, words, phones, row.speaker))
        return recordings

    def _cut_short(self, clip: str, frames: int) -> Optional[BadAudio]:
        seconds, published = frames / RATE, self.durations.get(clip, 0.0)
        if seconds >= published - TOLERANCE:
            return None
        return BadAudio(f"{seconds:.2f} s, expected the {published:.2f} s that the release says")

    def fill(self, split: str, readings: Iterator[Reading], minutes: float) -> list[Recording]:
        """Converts readings until they last `minutes` or, with the last one, a little longer.

        Raises:
            ValueError: all readings together are shorter.
        """
        recordings: list[Recording] = []
        missing = minutes * 60
        while missing > 0:
            # Another round makes up for what does not decode.
            batch = list(self._lasting(missing, readings))
            if not batch:
                raise ValueError(
                    f"--{split}-minutes: {minutes:g}, expected no more than the"
                    f" {minutes - missing / 60:.1f} that its speakers have"
                )
            converted = self.convert(batch, split)
            missing -= sum(recording.frames for recording in converted) / RATE
            recordings += converted
        return recordings

    def _lasting(self, seconds: float, readings: Iterator[Reading]) -> Iterator[Reading]:
        """As many of the readings as their headers promise to last `seconds`."""
        while seconds > 0 and (reading := next(readings, None)):
            with suppress(BadAudio):  # `convert` will say what is wrong
                seconds -= self.seconds_of(reading)
            yield reading

    def seconds_of(self, reading: Reading) -> float:
        """The length of a clip, as its header says. Raises BadAudio if it cannot be read."""
        header = read_header(self.clips / reading.row.clip)
        return header.frames / header.rate
