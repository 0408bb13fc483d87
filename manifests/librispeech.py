"""From LibriSpeech and Libri-Light's limited-supervision sets to fairseq manifests.

The audio stays where it is. The program writes lists of it, letters and words.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

from audio.clips import Skipped, check_share, write_skipped
from audio.files import RATE, BadAudio
from audio.flac import read_whole_header
from cli.options import add_jobs, add_max_skipped, corpus_parser, run
from corpus.librispeech_published import (
    PUBLISHED,
    check_minutes,
    check_whole,
    missing_chapters,
)
from manifest.writing import Utterance, write_lines, write_split
from tqdm import tqdm

LIBRISPEECH = "LibriSpeech"
LIBRI_LIGHT = "librispeech_finetuning"
EVALUATION = ("dev-clean", "dev-other", "test-clean", "test-other")
TRAIN_SPLITS = ("train-clean-100", "train-clean-360", "train-other-500")
PARTS = range(6)  # of the one hour, ten minutes each
FLAC_NAME = re.compile(r"([0-9]+-[0-9]+)-[0-9]+\.flac")

# dict.ltr.txt of fairseq's published models (dl.fbaipublicfiles.com/fairseq/wav2vec/dict.ltr.txt).
# The order decides which output of a model stands for which letter.
LETTERS = {
    "|": 94802, "E": 51860, "T": 38431, "A": 33152, "O": 31495, "N": 28855, "I": 28794,
    "H": 27187, "S": 26071, "R": 23546, "D": 18289, "L": 16308, "U": 12400, "M": 10685,
    "W": 10317, "C": 9844, "F": 9062, "G": 8924, "Y": 8226, "P": 6890, "B": 6339,
    "V": 3936, "K": 3456, "'": 1023, "X": 636, "J": 598, "Q": 437, "Z": 213,
}  # fmt: skip
ALPHABET = {" ", *LETTERS} - {"|"}

EPILOG = """\
SOURCE is the folder into which the archives were unpacked:

  SOURCE/LibriSpeech/{train-clean-100,...,dev-clean,dev-other,test-clean,test-other}
  SOURCE/librispeech_finetuning/{1h,9h}       for --train 10min, 1h and 10h

from https://www.openslr.org/12 and
https://dl.fbaipublicfiles.com/librilight/data/librispeech_finetuning.tgz. It may also be one of
these two folders itself. If they are in different places, link them: ln -s.

DEST gets train and those of dev_clean, dev_other, test_clean and test_other that SOURCE has, each
as .tsv, .wrd and .ltr; dict.ltr.txt, that of fairseq's published models; and skipped.tsv, which
names what is left out and why. No audio is decoded: a file is whole if its last frame is.

Each subset must be whole: it has as many utterances as LibriSpeech was published with, all chapters
of CHAPTERS.TXT, and a set of Libri-Light has the length that its name says. More than --max-skipped
of a subset that is missing or bad is an error. --partial takes the part of a subset that is there.

examples:
  python manifests/librispeech.py /data /data/librispeech_10m --train 10min --part 0
  python manifests/librispeech.py /data /data/librispeech_10h --train 10h
  python manifests/librispeech.py /data/LibriSpeech /data/librispeech_eval
"""


@dataclass(frozen=True)
class Split:
    """A split of the manifests: the folders below `root` that have SPEAKER/CHAPTER/*.flac."""

    name: str
    root: Path
    folders: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """An audio file, relative to the root, and its transcript."""

    path: str
    words: str


def find_splits(source: Path, train: str | None, part: int) -> list[Split]:
    """The training split, and the evaluation splits that SOURCE has.

    Raises:
        ValueError: SOURCE lacks a folder of the training split, or has no split at all.
    """
    root = _locate(source, LIBRISPEECH, (*EVALUATION, *TRAIN_SPLITS))
    found = [name for name in EVALUATION if (root / name).is_dir()]
    splits = [Split(name.replace("-", "_"), root, (name,)) for name in found]
    if train is not None:
        splits.insert(0, _training_split(source, root, train, part))
    if not splits:
        raise ValueError(
            f"SOURCE: {source} has no {LIBRISPEECH}/ with {', '.join(EVALUATION)},"
            f" expected one of them, or --train{_hint(source)}"
        )
    return splits


def _hint(source: Path) -> str:
    """Where LibriSpeech is, if it is one folder above or below."""
    if source.name in PUBLISHED:
        return f"; SOURCE could be {source.parent}"
    below = sorted(path.parent for name in PUBLISHED for path in source.glob(f"*/*/{name}"))
    return f"; SOURCE could be {below[0].parent}" if below else ""


def _training_split(source: Path, librispeech: Path, train: str, part: int) -> Split:
    hours = {"100h": 1, "460h": 2, "960h": 3}
    if train in hours:
        split = Split("train", librispeech, TRAIN_SPLITS[: hours[train]])
    else:
        parts = [f"1h/{number}" for number in ([part] if train == "10min" else PARTS)]
        parts += ["9h"] if train == "10h" else []
        folders = tuple(f"{name}/{noise}" for name in parts for noise in ("clean", "other"))
        split = Split("train", _locate(source, LIBRI_LIGHT, ("1h", "9h")), folders)
    for folder in split.folders:
        if not (split.root / folder).is_dir():
            raise ValueError(
                f"{split.root / folder}: not found, expected it for --train {train}{_hint(source)}"
            )
    return split


def _locate(source: Path, name: str, folders: Sequence[str]) -> Path:
    """SOURCE itself if it has one of the folders of a corpus, and else SOURCE/NAME."""
    return source if any((source / folder).is_dir() for folder in folders) else source / name


def read_split(split: Split, jobs: int) -> tuple[list[Utterance], list[Skipped]]:
    """The utterances of a split in the order of their paths, and what is left out."""
    candidates: list[Candidate] = []
    skipped: list[Skipped] = missing_chapters(split.root, split.folders)
    for folder in split.folders:
        chapters = (path for path in (split.root / folder).glob("*/*") if path.is_dir())
        for chapter in sorted(chapters):
            for found in _read_chapter(chapter, chapter.relative_to(split.root).as_posix()):
                (skipped if isinstance(found, Skipped) else candidates).append(found)
    files = [split.root / candidate.path for candidate in candidates]
    utterances: list[Utterance] = []
    path_of: dict[str, str] = {}
    with ThreadPool(jobs) as pool:
        frames = pool.imap(_frames, files, chunksize=64)
        bar = tqdm(frames, desc=split.name, total=len(files), unit="file")
        for candidate, found in zip(candidates, bar):
            name = candidate.path.rpartition("/")[2]
            if isinstance(found, BadAudio):
                skipped.append(Skipped(candidate.path, str(found)))
            elif name in path_of:
                skipped.append(Skipped(candidate.path, f"also {path_of[name]}, expected it once"))
            else:
                path_of[name] = candidate.path
                utterances.append(Utterance(candidate.path, found, candidate.words))
    return utterances, skipped


def _frames(path: Path) -> int | BadAudio:
    """The number of samples of a FLAC of LibriSpeech, or what is wrong with it."""
    try:
        frames, rate, channels = read_whole_header(path)
    except FileNotFoundError:
        return BadAudio("not found")
    except BadAudio as error:
        return error
    if (rate, channels) != (RATE, 1):
        return BadAudio(f"{rate} Hz, {channels} channels, expected {RATE} Hz, 1 channel")
    return frames


def _read_chapter(folder: Path, path: str) -> Iterator[Candidate | Skipped]:
    """The audio and the transcripts of a chapter, matched by their ids.

    Args:
        path: path of the folder, relative to the root.
    """
    transcripts = folder / f"{folder.parent.name}-{folder.name}.trans.txt"
    # Hidden files are not part of the corpus: some systems leave a "._" file beside each file.
    names = sorted(p.name for p in folder.glob("*.flac") if not p.name.startswith("."))
    texts: dict[str, list[bytes]] = {}
    if transcripts.is_file():
        for line in transcripts.read_bytes().splitlines():
            utterance, _, text = line.partition(b" ")
            if utterance:
                texts.setdefault(utterance.decode("utf-8", "replace"), []).append(text)
    if not names and not texts:
        yield Skipped(path, "an empty chapter, expected audio and transcripts")
    for name in names:
        found = texts.pop(name.removesuffix(".flac"), [])
        try:
            yield Candidate(f"{path}/{name}", _words(name, found, transcripts))
        except ValueError as error:
            yield Skipped(f"{path}/{name}", str(error))
    for utterance in sorted(texts):
        reason = f"not found, though {transcripts.name} has its words"
        yield Skipped(f"{path}/{utterance}.flac", reason)


def _words(name: str, texts: list[bytes], transcripts: Path) -> str:
    """The transcript of a file. Raises ValueError for a bad transcript or a bad name."""
    chapter = transcripts.name.removesuffix(".trans.txt")
    parts = FLAC_NAME.fullmatch(name)
    if parts is None or parts[1] != chapter:
        raise ValueError(f"not the name of an utterance, expected one like {chapter}-0000.flac")
    if not transcripts.is_file():
        raise ValueError(f"{transcripts.name} not found, expected it beside the audio")
    if len(texts) != 1:
        raise ValueError(f"{len(texts)} transcripts in {transcripts.name}, expected 1")
    try:
        words = texts[0].decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ValueError(f"transcript {texts[0]!r}, expected UTF-8") from None
    outside = "".join(sorted(set(words) - ALPHABET))
    if outside:
        raise ValueError(f"{outside!r} in its transcript, expected A to Z, ' and spaces")
    if not words:
        raise ValueError("an empty transcript, expected words")
    return words


def prepare(args: argparse.Namespace) -> None:
    """Writes the manifests. Whatever is wrong is found before the first of them is written."""
    if args.part is not None and args.train != "10min":
        raise ValueError(f"--part: {args.part}, expected it with --train 10min only")
    splits = find_splits(args.source, args.train, args.part or 0)
    read = {split: read_split(split, args.jobs) for split in splits}
    write_skipped(args.dest, [clip for _, left_out in read.values() for clip in left_out])
    for split, (utterances, left_out) in read.items():
        if not args.partial:
            check_whole(split.folders, utterances, left_out, args.max_skipped)
            check_minutes(split.name, args.train, utterances, args.max_skipped)
        total = len(utterances) + len(left_out)
        check_share(args.dest, split.name, len(left_out), total, args.max_skipped)
    dictionary = [f"{letter} {count}" for letter, count in LETTERS.items()]
    write_lines(args.dest / "dict.ltr.txt", dictionary)
    for split, (utterances, left_out) in read.items():
        write_split(args.dest, split.name, split.root, utterances)
        hours = sum(utterance.frames for utterance in utterances) / RATE / 3600
        published = sum(PUBLISHED.get(folder, 0) for folder in split.folders)
        print(
            f"{split.name}: {len(utterances)} {f'of {published} ' if published else ''}utterances,"
            f" {hours:.2f} hours, {len(left_out)} skipped"
        )
    missing = [name for name in EVALUATION if name not in {f for s in splits for f in s.folders}]
    if missing:
        print(f"not in {args.source}: {', '.join(missing)}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "folder of LibriSpeech/ and librispeech_finetuning/")
    parser.add_argument(
        "--train",
        choices=("10min", "1h", "10h", "100h", "460h", "960h"),
        help="training split: one of Libri-Light's limited sets, or LibriSpeech's own splits;"
        " default: none, the evaluation splits alone",
    )
    parser.add_argument(
        "--part",
        type=int,
        choices=PARTS,
        help="which of the six sets of --train 10min; default: 0",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="take what is there, even if it is a part of what was published",
    )
    add_max_skipped(parser)
    add_jobs(parser)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
