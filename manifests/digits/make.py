"""Made the digits that ship with the project, from what manifests/arabic_speech_commands.py wrote.

python manifests/arabic_speech_commands.py arabic-speech-commands-dataset data/digits \\
    --valid-minutes 2 --test-minutes 7
python manifests/digits/make.py data/digits manifests/digits
"""

import argparse
from pathlib import Path

import soundfile

RATE = 16_000
COMPRESSION = 0.8  # of libvorbis, 0 to 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="prepared folder")
    parser.add_argument("dest", type=Path, metavar="DEST", help="gets transcripts.tsv and audio/")
    args = parser.parse_args()
    table = (args.data / "speakers.tsv").read_text("utf-8").splitlines()[1:]
    speaker_of = dict(row.split("\t") for row in table)
    rows = ["split\tpath\tframes\tvoice\twords"]
    for split in ("train", "valid", "test"):
        root, *lines = (args.data / f"{split}.tsv").read_text("utf-8").splitlines()
        transcripts = (args.data / f"{split}.wrd").read_text("utf-8").splitlines()
        (args.dest / "audio" / split).mkdir(parents=True, exist_ok=True)
        for line, words in zip(lines, transcripts, strict=True):
            source, frames = line.split("\t")
            path = Path(source).with_suffix(".ogg")
            samples, _ = soundfile.read(Path(root, source), dtype="float32")
            form = {"format": "OGG", "subtype": "VORBIS", "compression_level": COMPRESSION}
            soundfile.write(args.dest / "audio" / path, samples, RATE, **form)
            rows.append(f"{split}\t{path}\t{frames}\t{speaker_of[source]}\t{words}")
    (args.dest / "transcripts.tsv").write_text("\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
