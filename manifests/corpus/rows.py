"""A row of a corpus's table."""

from typing import NamedTuple


class Row(NamedTuple):
    """One recording.

    Attributes:
        clip: the audio file, as the corpus names it.
        speaker: empty if it is not known.
        sentence: the text as it was read.
    """

    clip: str
    speaker: str
    sentence: str
