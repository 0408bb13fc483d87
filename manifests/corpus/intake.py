"""From the rows of a CommonVoice release to utterances: bad text and bad audio are left out."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

from audio.clips import Clip, Skipped, convert_all
from audio.files import RATE, BadAudio, read_header
from manifest.writing import Utterance
from text.phones import Phonemizer
from text.sentences import BadText, Language, normalise

from corpus.commonvoice_release import Row


class Reading(NamedTuple):
    """A row with usable text; its audio is still to be converted."""

    row: Row
    words: str
    phones: str  # empty when none are asked for


@dataclass(frozen=True)
class Recording(Utterance):
    """A line of a manifest, and what else is known of it."""

    phones: str
    speaker: str


class Intake:
    """Takes rows in, and keeps account of what it changed and what it skipped.

    Attributes:
        sentences: how many were looked at.
        changed: how many of them each step of `text.normalise` changed.
        skipped: clips that are left out.
    """

    def __init__(
        self,
        clips: Path,
        root: Path,
        language: Language,
        phonemizer: Optional[Phonemizer],
        jobs: int,
    ) -> None:
        self.clips, self.root = clips, root
        self.language, self.phonemizer = language, phonemizer
        self.jobs = jobs
        self.sentences = 0
        self.changed: Counter[str] = Counter()
        self.skipped: list[Skipped] = []

    def read(self, rows: Iterable[Row]) -> Iterator[Reading]:
        """The words, and the phones, of each row that has usable ones."""
        for row in rows:
            self.sentences += 1
            try:
                words = normalise(row.sentence, self.language, self.changed)
                yield Reading(row, words, self.phonemizer(words) if self.phonemizer else "")
            except BadText as error:
                self.skipped.append(Skipped(row.clip, str(error)))

    def convert(self, readings: Iterable[Reading]) -> list[Recording]:
        """Converts the audio of each reading; leaves out those whose audio is bad."""
        readings = list(readings)
        names = [f"{reading.row.clip.removesuffix('.mp3')}.flac" for reading in readings]
        clips = [Clip(self.clips / r.row.clip, name) for r, name in zip(readings, names)]
        recordings = []
        for reading, name, frames in zip(readings, names, convert_all(clips, self.root, self.jobs)):
            row, words, phones = reading
            if isinstance(frames, BadAudio):
                self.skipped.append(Skipped(row.clip, str(frames)))
            else:
                recordings.append(Recording(name, frames, words, phones, row.speaker))
        return recordings

    def fill(self, split: str, rows: Iterator[Row], minutes: float) -> list[Recording]:
        """Converts rows until they last `minutes` or, with the last one, a little longer.

        Raises:
            ValueError: all rows together are shorter.
        """
        readings = self.read(rows)
        recordings: list[Recording] = []
        missing = minutes * 60
        while missing > 0:
            # What does not decode is made up for in another round.
            batch = list(self._lasting(missing, readings))
            if not batch:
                raise ValueError(
                    f"--{split}-minutes: {minutes:g}, expected no more than the"
                    f" {minutes - missing / 60:.1f} that its speakers have"
                )
            converted = self.convert(batch)
            missing -= sum(recording.frames for recording in converted) / RATE
            recordings += converted
        return recordings

    def _lasting(self, seconds: float, readings: Iterator[Reading]) -> Iterator[Reading]:
        """So many of the readings that their headers promise so many seconds."""
        while seconds > 0 and (reading := next(readings, None)):
            with suppress(BadAudio):  # `convert` will say what is wrong
                header = read_header(self.clips / reading.row.clip)
                seconds -= header.frames / header.rate
            yield reading
