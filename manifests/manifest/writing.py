"""Writes the files that fairseq's audio tasks read: {split}.tsv, .wrd, .ltr, .phn, dict.*.txt."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

WORD_END = "|"
RATE = 16_000  # Hz, of wav2vec 2.0


@dataclass(frozen=True)
class Utterance:
    """One line of a manifest.

    Attributes:
        path: audio file, relative to the audio root.
        frames: length of the decoded audio in samples (not in seconds).
        words: transcript: words separated by white space, in the case in which to write them.
    """

    path: str
    frames: int
    words: str


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what is written there becomes `path` in one step.

    If the block raises, the temporary file is removed and `path` keeps its content. What a killed
    process leaves behind is overwritten by the next one.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OSError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a UTF-8 file in one step. Its folder is made if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{line}\n" for line in lines)
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def spell(words: str) -> str:
    """The letters of a transcript as fairseq's libri_labels.py writes them: "G O | O N |"."""
    return " ".join(WORD_END.join(words.split()) + WORD_END)


def write_split(dest: Path, split: str, root: Path, utterances: Sequence[Utterance]) -> None:
    """Writes {split}.tsv, {split}.wrd and {split}.ltr into `dest`, in the order of `utterances`.

    Raises:
        ValueError: fairseq would misread an utterance; nothing is written then. The message names
            the file, the line, the value found and the value expected.
    """
    tsv = dest / f"{split}.tsv"
    lines = _manifest_lines(tsv, root, utterances)
    _check_words(tsv, utterances)
    # Removed first and written last: if the .tsv file exists, its transcripts do too.
    tsv.unlink(missing_ok=True)
    write_labels(dest, split, "wrd", [" ".join(u.words.split()) for u in utterances])
    write_labels(dest, split, "ltr", [spell(u.words) for u in utterances])
    write_lines(tsv, lines)


def write_manifest(dest: Path, split: str, root: Path, utterances: Sequence[Utterance]) -> None:
    """Writes {split}.tsv alone, of speech without transcripts; raises as `write_split` does."""
    tsv = dest / f"{split}.tsv"
    write_lines(tsv, _manifest_lines(tsv, root, utterances))


def write_labels(dest: Path, split: str, suffix: str, lines: Iterable[str]) -> None:
    """Writes `dest`/{split}.{suffix}, a line for each utterance, symbols separated by spaces.

    `write_split` writes the .wrd and .ltr files. Write other labels (phn, spm) before you call it,
    so that the labels exist if the .tsv file does.
    """
    write_lines(dest / f"{split}.{suffix}", lines)


def write_dictionary(
    dest: Path, suffix: str, lines: Iterable[str], others: Iterable[str] = ()
) -> None:
    """Writes `dest`/dict.{suffix}.txt: a line "symbol count" for every symbol of the labels.

    The most frequent symbol comes first. Symbols with equal counts are sorted.

    Args:
        lines: labels of the training split, as `write_labels` takes them.
        others: labels of the other splits. Symbols that only they contain come last, with the
            count 0: they cannot be learned, but references that contain them can be scored.

    Raises:
        ValueError: there are no symbols.
    """
    counts = Counter(symbol for line in lines for symbol in line.split())
    if not counts:
        raise ValueError(f"{dest / f'dict.{suffix}.txt'}: found no symbols, expected at least one")
    counts.update({symbol: 0 for line in others for symbol in line.split()})
    write_counts(dest, suffix, counts)


def write_counts(dest: Path, suffix: str, counts: Mapping[str, int]) -> None:
    """Writes `dest`/dict.{suffix}.txt as `write_dictionary` does, from the counts of symbols."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    write_lines(dest / f"dict.{suffix}.txt", [f"{symbol} {count}" for symbol, count in ranked])


def write_letter_dictionary(dest: Path, words: Iterable[str], others: Iterable[str] = ()) -> None:
    """Writes `dest`/dict.ltr.txt: every letter of the transcripts, and the end-of-word symbol.

    Args:
        words: transcripts of the training split.
        others: transcripts of the other splits, as in `write_dictionary`.

    Raises:
        ValueError: there are no words.
    """
    spelt = ([spell(text) for text in texts if text.split()] for texts in (words, others))
    write_dictionary(dest, "ltr", *spelt)


def _manifest_lines(tsv: Path, root: Path, utterances: Sequence[Utterance]) -> list[str]:
    """The lines of a .tsv file; raises ValueError where fairseq would misread one."""
    audio_root = str(root.absolute())
    if audio_root != audio_root.strip() or len(audio_root.splitlines()) > 1:
        raise ValueError(
            f"{tsv}: audio root {audio_root!r}, expected a path on one line"
            " without white space at its beginning or end"
        )
    if not utterances:
        raise ValueError(f"{tsv}: found no utterances, expected at least one")
    line_of: dict[str, int] = {}
    for line, utterance in enumerate(utterances, start=2):
        path, frames = utterance.path, utterance.frames
        where = f"{tsv}, line {line}"
        # fairseq strips each line, splits it at tabs, and joins the path to the root.
        if path != path.strip() or "\t" in path or len(path.splitlines()) != 1:
            raise ValueError(
                f"{where}: path {path!r}, expected a path without tabs or line breaks"
                " or white space at its beginning or end"
            )
        if Path(path).is_absolute():
            raise ValueError(f"{where}: path {path!r}, expected one relative to the audio root")
        if path in line_of:
            raise ValueError(
                f"{where}: path {path!r} is also in line {line_of[path]}, expected it once"
            )
        line_of[path] = line
        if frames <= 0:
            raise ValueError(f"{where}: {frames} frames in {path!r}, expected more than 0")
    return [audio_root, *(f"{utterance.path}\t{utterance.frames}" for utterance in utterances)]


def _check_words(tsv: Path, utterances: Sequence[Utterance]) -> None:
    for line, utterance in enumerate(utterances, start=2):
        where, path, words = f"{tsv}, line {line}", utterance.path, utterance.words
        if not words.split():
            raise ValueError(f"{where}: transcript {words!r} of {path!r}, expected some words")
        if WORD_END in words:
            raise ValueError(
                f"{where}: transcript {words!r} of {path!r}, expected no {WORD_END!r},"
                " which marks the end of a word in the .ltr file"
            )
