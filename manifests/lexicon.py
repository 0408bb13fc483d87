"""Writes the lexicon for decoding with a language model of words: each word and its symbols."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cli.options import run
from manifest.lines import read_lines
from manifest.writing import WORD_END, write_lines
from text.lexicon import read_lexicon

EPILOG = """\
A line is a word, a tab, and the symbols that spell it, as in TWO<tab>T W O |. The symbols are those
of the labels that the model was finetuned on:

  ltr  the letters of the word, and | after them
  phn  the phones of --pronunciations, all variants of a word that is in it
  spm  the sentencepiece units of spm.model, which sentencepiece_labels.py has written

Words come from the training split of a folder of manifests, or from a file. Take a file with the
vocabulary of the language model where the model knows more words than the training split has.

examples:
  python manifests/lexicon.py data/fsdd -o data/fsdd/lexicon.txt
  python manifests/lexicon.py librispeech-vocab.txt --data data/10h -o data/10h/lexicon.txt
  python manifests/lexicon.py data/es-phn --labels phn --pronunciations es.dict -o lexicon.txt
  fairseq-generate data/fsdd ... --decoder lexicon --lexicon data/fsdd/lexicon.txt
"""

# Spellings of a word; none where it cannot be spelled.
Speller = Callable[[str], list[str]]


def letters(word: str) -> list[str]:
    return [" ".join([*word, WORD_END])]


def phones(pronunciations: Path) -> Speller:
    """The phones of each word, by a pronunciation lexicon."""
    variants: dict[str, list[str]] = {}
    for entry in read_lexicon(pronunciations):
        if entry.phones not in variants.setdefault(entry.word, []):
            variants[entry.word].append(entry.phones)
    return lambda word: variants.get(word, [])


def units(model: Path) -> Speller:
    """The sentencepiece units of each word."""
    if not model.is_file():
        raise ValueError(f"{model}: not found, expected what sentencepiece_labels.py writes")
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{model}: not a model of sentencepiece: {error}") from None
    return lambda word: [" ".join(processor.encode(word, out_type=str))]


def read_words(source: Path) -> list[str]:
    """The words of a folder's training split or of a text file, each once, in their first order.

    Raises:
        FileNotFoundError, ValueError: there are no words.
    """
    path = source / "train.wrd" if source.is_dir() else source
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found, expected words, separated by white space")
    words = dict.fromkeys(word for line in read_lines(path) for word in line.split())
    if not words:
        raise ValueError(f"{path}: found no words, expected at least one")
    return list(words)


def read_symbols(dictionary: Path) -> set[str]:
    """The symbols of a dictionary of fairseq."""
    if not dictionary.is_file():
        raise FileNotFoundError(f"{dictionary}: not found, expected the dictionary of the labels")
    return {line.rsplit(" ", 1)[0] for line in read_lines(dictionary) if line.strip()}


def entries(
    words: list[str], speller: Speller, symbols: set[str], skipped: list[str]
) -> Iterator[str]:
    """The lines of the lexicon; words that the symbols cannot spell go to `skipped`."""
    for word in words:
        spellings = [s for s in speller(word) if s and symbols.issuperset(s.split())]
        if spellings:
            yield from (f"{word}\t{spelling}" for spelling in spellings)
        else:
            skipped.append(word)


def choose_speller(args: argparse.Namespace, data: Path) -> Speller:
    if (args.pronunciations is None) == (args.labels == "phn"):
        raise ValueError(
            f"--labels {args.labels} and --pronunciations {args.pronunciations}: expected a "
            "pronunciation lexicon with --labels phn, and with no other labels"
        )
    if args.labels == "phn":
        return phones(args.pronunciations)
    return units(data / "spm.model") if args.labels == "spm" else letters


def prepare(args: argparse.Namespace) -> None:
    data = args.data or args.source
    if not data.is_dir():
        raise ValueError(f"{data} is not a folder of manifests: expected one, or --data DATA")
    words = read_words(args.source)
    speller = choose_speller(args, data)
    symbols = read_symbols(data / f"dict.{args.labels}.txt")
    skipped: list[str] = []
    lines = list(entries(words, speller, symbols, skipped))
    if not lines:
        raise ValueError(
            f"none of the {len(words)} words can be spelled, as {skipped[0]!r}: expected words in "
            f"the case of the labels, and symbols of {data / f'dict.{args.labels}.txt'}"
        )
    write_lines(args.output, lines)
    if skipped:
        shown = " ".join(skipped[:5])
        print(f"{len(skipped)} words cannot be spelled and are left out: {shown}", file=sys.stderr)
    print(f"{args.output}: {len(words) - len(skipped)} words, {len(lines)} spellings")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "source",
        metavar="DATA|WORDS",
        type=Path,
        help="folder of manifests, or text file with words (white space separates them)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="LEXICON", help="file to write"
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of manifests whose dictionary is used; default: DATA",
    )
    parser.add_argument(
        "--labels", choices=("ltr", "phn", "spm"), default="ltr", help="default: %(default)s"
    )
    parser.add_argument(
        "--pronunciations",
        type=Path,
        metavar="FILE",
        help="pronunciation lexicon for --labels phn: plain, Kaldi, CMUdict or MFA",
    )
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
