"""The options that choose the labels of a corpus: letters, phones or sentencepiece units."""

import argparse
from pathlib import Path
from typing import Optional

from cli.options import above
from text.lexicon import lexicon_phonemizer
from text.phones import Phonemizer, espeak_phonemizer
from text.sentences import Language, language_of, read_letters

LABELS = ("ltr", "phn", "spm")
OPTIONS_OF = {"lexicon": "phn", "vocab_size": "spm"}


def add_label_options(parser: argparse.ArgumentParser, needs_language: bool = True) -> None:
    """Adds --lang, --labels and what goes with them.

    Args:
        needs_language: whether --lang must be given. Without it, all letters are accepted.
    """
    add = parser.add_argument
    default = "" if needs_language else "; default: none, which accepts all letters"
    add(
        "--lang",
        required=needs_language,
        default="",
        metavar="CODE",
        help=f"language, such as es, sv-SE, zh-TW{default}",
    )
    add("--labels", choices=LABELS, default="ltr", help="letters (default), phones, sentencepiece")
    add(
        "--letters",
        type=Path,
        metavar="FILE",
        help="the letters of the language, in either case; all sentences with others are skipped."
        " default: see docs/languages.md",
    )
    add(
        "--lexicon",
        type=Path,
        metavar="FILE",
        help="pronunciations for --labels phn: a word and its phones on each line, as plain text"
        " or in the formats of MFA and Kaldi; default: espeak-ng",
    )
    add(
        "--vocab-size",
        type=above(int, 0),
        metavar="N",
        help="sentencepiece units; default: 100, or as many as the words allow",
    )


def check_label_options(args: argparse.Namespace) -> None:
    """Raises ValueError for options that do not belong to --labels."""
    for name, labels in OPTIONS_OF.items():
        if getattr(args, name) is not None and args.labels != labels:
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option}: --labels is {args.labels}, expected {labels}")


def choose_language(args: argparse.Namespace) -> Language:
    """The language of --lang, with the letters of --letters if there are any."""
    language = language_of(args.lang)
    return read_letters(args.letters, language) if args.letters else language


def make_phonemizer(args: argparse.Namespace, language: Language) -> Optional[Phonemizer]:
    if args.labels != "phn":
        return None
    if args.lexicon:
        return lexicon_phonemizer(args.lexicon, language)
    if not args.lang:
        raise ValueError("--labels phn: expected --lang, for espeak-ng, or a --lexicon")
    return espeak_phonemizer(args.lang)
