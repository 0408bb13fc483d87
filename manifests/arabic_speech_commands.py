"""From the Arabic Speech Commands Dataset to fairseq manifests of digit strings.

An utterance is a few recordings of one speaker, joined with pauses of 50 to 200 ms, at 16 kHz. No
speaker is in two splits.
"""

import argparse
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Optional

from audio.files import RATE
from cli.options import corpus_parser, run
from corpus.strings import (
    Recording,
    add_speaker_options,
    add_string_options,
    prepare_strings,
    read_samples,
)
from text.digits import DIGITS
from tqdm import tqdm

# Of the digits from 0 to 9.
WORDS = ("صفر", "واحد", "اثنان", "ثلاثة", "أربعة", "خمسة", "ستة", "سبعة", "ثمانية", "تسعة")
NAME = re.compile(r"0{6}([0-9]{2})_NO_[0-9]{2}\.wav")

# The data set has 18 speakers to train, 6 to validate and 6 to test. More of them test here,
# because an interval over speakers needs many. The encoders of manifests/people have not heard
# those of TEST.
VALID = ("16", "17", "18")
TEST = (
    *("02", "03", "04", "07", "08", "10", "12", "14", "19", "20"),
    *("21", "22", "23", "24", "25", "26", "27", "28", "29", "30"),
)

EPILOG = f"""\
SOURCE is a clone of https://github.com/abdulkaderghandoura/arabic-speech-commands-dataset, or its
folder "dataset". Thirty speakers say each word ten times. The licence, CC BY 4.0, also covers the
audio in DEST. Of the 40 words, the ten digits are used. Their labels are in Arabic letters.

By default, speakers 01, 05, 06, 09, 11, 13 and 15 are in train, {", ".join(VALID)} in valid,
and the twenty others in test.

Recordings are joined as they are, one second each. Strings are dealt from shuffled decks, one for
each speaker, so that all recordings of a speaker are used equally often, and all speakers too.

DEST gets {{train,valid,test}}.{{tsv,wrd,ltr}}, dict.ltr.txt, speakers.tsv and
audio/{{train,valid,test}}/*.flac. Audio of an earlier run is removed. The same options give the
same bytes, whatever --jobs is.

examples:
  python manifests/arabic_speech_commands.py arabic-speech-commands-dataset data/digits
  python manifests/arabic_speech_commands.py dataset data/digits-1min --train-minutes 1
"""


def read_recordings(source: Path) -> dict[str, list[Recording]]:
    """Reads the digits of each speaker.

    Raises:
        ValueError: the folder or one of its files is not what the data set has.
    """
    if (source / "dataset").is_dir():
        source = source / "dataset"
    speakers: dict[str, list[Recording]] = {}
    for english, word in tqdm(zip(DIGITS, WORDS), desc="reading", total=len(WORDS), unit="word"):
        folder = source / english.lower()
        paths = sorted(folder.glob("*.wav"))
        if not paths:
            raise ValueError(f"SOURCE: found no .wav file in {folder}, expected the recordings")
        for path in paths:
            parts = NAME.fullmatch(path.name)
            if parts is None:
                raise ValueError(
                    f"{path}: expected a name like 00000021_NO_06.wav (speaker_NO_round)"
                )
            recording = Recording(word, read_samples(path, RATE))
            speakers.setdefault(parts[1], []).append(recording)
    return speakers


def prepare(args: argparse.Namespace) -> None:
    """Writes the three splits. Bad options and recordings are refused before that."""
    prepare_strings(args, partial(read_recordings, args.source), RATE)


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "clone of the data set, or its recordings")
    add_speaker_options(parser, "default: see above")
    add_string_options(parser, {"train": 10.0, "valid": 5.0, "test": 30.0})
    parser.set_defaults(valid_speakers=VALID, test_speakers=TEST)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
