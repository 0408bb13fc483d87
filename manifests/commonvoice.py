"""From a CommonVoice release to fairseq manifests of one language.

MP3 clips become 16 kHz FLAC; sentences become letters, phones or sentencepiece units.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from audio.clips import write_skipped
from audio.files import RATE
from cli.options import above, add_jobs, add_max_skipped, corpus_parser, run
from corpus.commonvoice_release import language_folder, read_rows
from corpus.intake import Intake, Recording
from corpus.splits import POOL, SPLITS, Speakers, listed, official, once
from manifest.speakers import write_speakers
from manifest.writing import write_dictionary, write_labels, write_letter_dictionary, write_split
from text.doubts import homophones, rare_symbols
from text.phones import Phonemizer, espeak_phonemizer, lexicon_phonemizer
from text.sentences import Language, language_of, read_letters
from text.units import train, write_units
from tqdm import tqdm

LABELS = ("ltr", "phn", "spm")
OPTIONS_OF = {"lexicon": "phn", "vocab_size": "spm"}

EPILOG = """\
SOURCE is a release as it unpacks, such as cv-corpus-6.1-2020-12-11/, or the folder of a language in
it; --lang is the release's name of the language. manifests/text/sentences.py knows the alphabets of
es fr it ky nl ru sv-SE tr tt zh-TW; in other languages, every letter of Unicode is one.

Splits are those of the release (train.tsv, dev.tsv, test.tsv), unless
  --train-minutes  asks for a subset of validated.tsv in which no speaker is in two splits. With the
                   same seed, a shorter training split is the beginning of a longer one, and
                   validation and test stay what they are;
  --train-list     and the other two name clips of validated.tsv, as do the published splits for
                   phone recognition (common_voices_splits of facebookresearch/CPC_audio).

Sentences are composed (NFC), in lower case, and without punctuation, apart from marks that belong
to words, as in l'eau and intel·ligent; what that changed is counted and printed.
Sentences with a digit, a symbol or a letter of another alphabet are skipped. So are, with --labels
phn, those with a word that --lexicon lacks or that espeak-ng (pip install '.[phones]') reads as
another language's. Symbols that are too rare to be learnt are named, and so are words with the same
phones where there are unusually many. Languages without spaces (Chinese, Cantonese, Japanese, Thai,
Lao, Burmese, Khmer) are scored by characters: fairseq-generate --wer-char-level.

DEST gets {train,valid,test}.{tsv,wrd,ltr} and dict.ltr.txt; with --labels phn or spm those labels
and their dictionary too, and spm.model; speakers.tsv; skipped.tsv; and audio/*.flac. A run that was
interrupted goes on where it was. The same options give the same bytes, whatever --jobs is.

examples:
  python manifests/commonvoice.py cv-corpus-6.1-2020-12-11 data/es --lang es
  python manifests/commonvoice.py cv-corpus-6.1-2020-12-11 data/tr-1h --lang tr --train-minutes 60
  python manifests/commonvoice.py cv-corpus-6.1-2020-12-11 data/fr-phn --lang fr --labels phn \\
      --train-list fr/trainSeqs_1.0_uniform_new_version.txt \\
      --valid-list fr/valSeqs_1.0_uniform_new_version.txt \\
      --test-list fr/testSeqs_uniform_new_version.txt

then, for letters, phones and sentencepiece units:
  fairseq-hydra-train ... --config-name commonvoice_xlsr53 task.data="$PWD/data/es" \\
      task.labels=ltr criterion.post_process=letter checkpoint.best_checkpoint_metric=wer
  fairseq-hydra-train ... --config-name commonvoice_xlsr53 task.data="$PWD/data/fr-phn"
  fairseq-hydra-train ... --config-name commonvoice_xlsr53 task.data="$PWD/data/tr-spm" \\
      task.labels=spm criterion.post_process=sentencepiece checkpoint.best_checkpoint_metric=wer
"""


def prepare(args: argparse.Namespace) -> None:
    """Converts the clips and writes the manifests, unless an option or too much data is bad."""
    check_options(args)
    folder = language_folder(args.source, args.lang)
    language = choose_language(args)
    phonemizer = make_phonemizer(args, language)
    intake = Intake(
        clips=folder / "clips",
        root=args.dest / "audio",
        language=language,
        phonemizer=phonemizer,
        jobs=args.jobs,
    )
    splits = choose(args, folder, intake)
    taken = sum(map(len, splits.values()))
    write_skipped(args.dest, intake.skipped, taken + len(intake.skipped), args.max_skipped)
    write(args, splits, intake.root)
    report(splits, intake)
    warn(args, splits, intake)


def check_options(args: argparse.Namespace) -> None:
    """Raises ValueError for options that do not go together."""
    for name, labels in OPTIONS_OF.items():
        if getattr(args, name) is not None and args.labels != labels:
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option}: --labels is {args.labels}, expected {labels}")
    lists = [split for split in SPLITS if getattr(args, f"{split}_list")]
    if lists and len(lists) < len(SPLITS):
        raise ValueError(
            f"--{lists[0]}-list: found no list for the other splits, expected three lists"
        )
    if lists and args.train_minutes:
        raise ValueError("--train-minutes: lists are given too, expected the one or the other")
    for split in ("valid", "test"):
        if getattr(args, f"{split}_minutes") and not args.train_minutes:
            raise ValueError(f"--{split}-minutes: expected --train-minutes with it")


def choose_language(args: argparse.Namespace) -> Language:
    language = language_of(args.lang)
    return read_letters(args.letters, language) if args.letters else language


def make_phonemizer(args: argparse.Namespace, language: Language) -> Optional[Phonemizer]:
    if args.labels != "phn":
        return None
    if args.lexicon:
        return lexicon_phonemizer(args.lexicon, language)
    return espeak_phonemizer(args.lang)


def choose(args: argparse.Namespace, folder: Path, intake: Intake) -> dict[str, list[Recording]]:
    """The recordings of each split, their audio converted."""
    if args.train_minutes:
        pool = read_rows(folder / POOL, args.lang, intake.skipped)
        speakers = Speakers(once({POOL: pool}, intake.skipped)[POOL], args.seed)
        return {
            "test": intake.fill("test", speakers.one_by_one(), args.test_minutes or 60),
            "valid": intake.fill("valid", speakers.one_by_one(), args.valid_minutes or 20),
            "train": intake.fill("train", speakers.in_turn(), args.train_minutes),
        }
    if args.train_list:
        lists = {split: getattr(args, f"{split}_list") for split in SPLITS}
        rows = listed(folder, args.lang, lists, intake.skipped)
    else:
        rows = official(folder, args.lang, intake.skipped)
    recordings = {}
    for split in SPLITS:
        bar = tqdm(rows[split], desc=f"reading {split}", unit="row")
        recordings[split] = intake.convert(intake.read(bar))
    return recordings


def write(args: argparse.Namespace, splits: dict[str, list[Recording]], root: Path) -> None:
    """Writes the manifests, the labels and the dictionaries.

    Raises:
        ValueError: a split is empty, or --vocab-size does not suit; nothing is written then.
    """
    dest = args.dest
    for split, recordings in splits.items():
        if not recordings:
            raise ValueError(
                f"{dest}: no clip of {split} can be used, expected one or more; see skipped.tsv"
            )
    words = {split: [r.words for r in recordings] for split, recordings in splits.items()}
    units = train(words["train"], args.vocab_size or 100) if args.labels == "spm" else None
    clear(dest)
    write_letter_dictionary(dest, words["train"], words["valid"] + words["test"])
    if units:
        write_units(dest, units, words)
    if args.labels == "phn":
        phones = {split: [r.phones for r in recordings] for split, recordings in splits.items()}
        write_dictionary(dest, "phn", phones["train"], phones["valid"] + phones["test"])
        for split in SPLITS:
            write_labels(dest, split, "phn", phones[split])
    recordings = (recording for split in SPLITS for recording in splits[split])
    write_speakers(dest, {recording.path: recording.speaker for recording in recordings})
    for split in SPLITS:
        write_split(dest, split, root, splits[split])


def clear(dest: Path) -> None:
    """Removes what another run may have written, of which labels would not fit the manifests."""
    splits = [f"{split}.{suffix}" for split in SPLITS for suffix in ("tsv", "wrd", *LABELS)]
    for name in (*splits, "dict.phn.txt", "dict.spm.txt", "spm.model"):
        (dest / name).unlink(missing_ok=True)


def report(splits: dict[str, list[Recording]], intake: Intake) -> None:
    changed = ", ".join(f"{name} {count}" for name, count in intake.changed.items() if count)
    print(f"text: {intake.sentences} sentences, changed in {changed or 'nothing'}")
    for split in reversed(SPLITS):
        recordings = splits[split]
        minutes = sum(recording.frames for recording in recordings) / RATE / 60
        speakers = len({recording.speaker for recording in recordings})
        print(f"{split}: {len(recordings)} clips, {minutes:.1f} minutes, {speakers} speakers")
    print(f"skipped: {len(intake.skipped)} clips, see skipped.tsv")


def warn(args: argparse.Namespace, splits: dict[str, list[Recording]], intake: Intake) -> None:
    """Says on stderr what is odd in the labels as a whole."""
    train = splits["train"]
    symbols = {"ltr": (" ".join(r.words) for r in train), "phn": (r.phones for r in train)}
    warnings = [rare_symbols(symbols[args.labels])] if args.labels in symbols else []
    if intake.phonemizer and intake.language.spaced:
        words = (recording.words for split in SPLITS for recording in splits[split])
        warnings.append(homophones(words, intake.phonemizer, args.lang))
    for warning in filter(None, warnings):
        print(f"warning: {warning}", file=sys.stderr)


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "a release, or the folder of a language in it")
    add = parser.add_argument
    minutes = above(float, 0)
    add("--lang", required=True, metavar="CODE", help="such as es, sv-SE, zh-TW")
    add("--labels", choices=LABELS, default="ltr", help="letters (default), phones, sentencepiece")
    add(
        "--letters",
        type=Path,
        metavar="FILE",
        help="the letters of the language, in either case, instead of those it is known to have",
    )
    add("--lexicon", type=Path, metavar="FILE", help="lines of a word and its phones")
    add("--vocab-size", type=above(int, 0), metavar="N", help="sentencepiece units; default: 100")
    add("--train-minutes", type=minutes, metavar="M", help="default: the release's own splits")
    add("--valid-minutes", type=minutes, metavar="M", help="of the subset; default: 20")
    add("--test-minutes", type=minutes, metavar="M", help="of the subset; default: 60")
    add("--seed", type=int, default=1, metavar="N", help="of the subset; default: %(default)s")
    for split in reversed(SPLITS):
        add(f"--{split}-list", type=Path, metavar="FILE", help=f"names of the clips of {split}")
    add_max_skipped(parser)
    add_jobs(parser)
    # One sentence in a hundred or more has a digit or a letter from abroad.
    parser.set_defaults(max_skipped=0.05)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
