"""From a CommonVoice release to fairseq manifests of one language.

MP3 clips become 16 kHz FLAC; sentences become letters, phones or sentencepiece units.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from cli.options import above, add_disjoint, add_jobs, add_max_skipped, corpus_parser, run
from corpus.commonvoice_release import language_folder, read_durations, read_rows
from corpus.disjoint import KINDS, HeldOut
from corpus.intake import Intake, Recording
from corpus.labels import (
    add_label_options,
    check_label_options,
    choose_language,
    make_phonemizer,
)
from corpus.output import check_skipped, report, warn, write
from corpus.splits import POOL, SPLITS, Speakers, all_validated, listed, official, once
from tqdm import tqdm

EPILOG = """\
SOURCE is a release as it unpacks, such as cv-corpus-6.1-2020-12-11/, or the folder of a language in
it; --lang is the release's name of the language. docs/languages.md says which letters each language
has: an alphabet, or all letters of its script. --letters FILE gives others.

The splits are those of the release (train.tsv, dev.tsv, test.tsv), unless you give
  --train-minutes  a subset of validated.tsv in which no speaker is in two splits. With the same
                   seed, a shorter training split is the beginning of a longer one, and validation
                   and test do not change;
  --all-validated  the dev.tsv and test.tsv of the release, and for training all of validated.tsv
                   but the speakers and the sentences of dev and test;
  --train-list     and the other two: lists of clips of validated.tsv, such as the published splits
                   for phone recognition (common_voices_splits of facebookresearch/CPC_audio).

Speakers and sentences that two splits share are reported. --disjoint leaves them out of training,
and of validation if they are in test.

Sentences are composed (NFC), in lower case, and without punctuation, except for marks that belong
to words, as in l'eau and intel·ligent. The program prints how many sentences each step changed. It
skips sentences with a digit, a symbol or a letter of another alphabet and, with --labels phn,
sentences with a word that --lexicon lacks or that espeak-ng (pip install '.[phones]') reads as
another language. It skips clips that are missing, cut short, silent, or shorter than the
clip_durations.tsv of the release says. If more than --max-skipped of any split is skipped, it
writes no manifests.

The program warns of symbols that are too rare to be learnt, and of phones that many words share.
Languages without spaces (Chinese, Cantonese, Japanese, Thai, Lao, Burmese, Khmer) are scored by
characters: fairseq-generate --wer-char-level.

DEST gets {train,valid,test}.{tsv,wrd,ltr} and dict.ltr.txt; with --labels phn or spm also those
labels, their dictionary, and spm.model; speakers.tsv; skipped.tsv; and audio/*.flac. A run that was
interrupted resumes. The same options give the same bytes, whatever --jobs is.

examples:
  python manifests/commonvoice.py cv-corpus-6.1-2020-12-11 data/es --lang es
  python manifests/commonvoice.py cv-corpus-6.1-2020-12-11 data/tr-1h --lang tr --train-minutes 60
  python manifests/commonvoice.py cv-corpus-6.1-2020-12-11 data/it-all --lang it --all-validated
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
    intake = Intake(
        clips=folder / "clips",
        root=args.dest / "audio",
        language=language,
        phonemizer=make_phonemizer(args, language),
        jobs=args.jobs,
        durations=read_durations(folder),
    )
    held_out = HeldOut()
    splits = choose(args, folder, intake, held_out)
    check_skipped(args.dest, splits, intake.skipped, held_out.left_out, args.max_skipped)
    write(args, splits, intake.root)
    report(splits, intake, held_out.left_out)
    warn(args, splits, intake)


def check_options(args: argparse.Namespace) -> None:
    """Raises ValueError for options that do not go together."""
    check_label_options(args)
    lists = [split for split in SPLITS if getattr(args, f"{split}_list")]
    if lists and len(lists) < len(SPLITS):
        raise ValueError(
            f"--{lists[0]}-list: found no list for the other splits, expected three lists"
        )
    ways = {
        "--train-minutes": args.train_minutes,
        "--all-validated": args.all_validated,
        "--train-list": args.train_list,
    }
    given = [option for option, value in ways.items() if value]
    if len(given) > 1:
        raise ValueError(f"{given[0]}: {given[1]} is given too, expected one of them")
    for split in ("valid", "test"):
        if getattr(args, f"{split}_minutes") and not args.train_minutes:
            raise ValueError(f"--{split}-minutes: expected --train-minutes with it")


def choose(
    args: argparse.Namespace, folder: Path, intake: Intake, held_out: HeldOut
) -> dict[str, list[Recording]]:
    """The recordings of each split, with their audio converted."""
    splits = {}
    if args.train_minutes:
        pool = read_rows(folder / POOL, args.lang, intake.skipped, POOL)
        speakers = Speakers(once({POOL: pool}, intake.skipped)[POOL], args.seed)
        minutes = {"test": args.test_minutes or 60, "valid": args.valid_minutes or 20}
        for split in SPLITS:
            drawn = speakers.in_turn() if split == "train" else speakers.one_by_one()
            readings = held_out.without(intake.read(drawn, split), args.disjoint)
            splits[split] = intake.fill(split, readings, minutes.get(split, args.train_minutes))
            held_out.add(split, splits[split])
        return splits
    if args.train_list:
        lists = {split: getattr(args, f"{split}_list") for split in SPLITS}
        rows = listed(folder, args.lang, lists, intake.skipped)
    elif args.all_validated:
        rows = all_validated(folder, args.lang, intake.skipped)
    else:
        rows = official(folder, args.lang, intake.skipped)
    for split in SPLITS:
        kinds = KINDS if args.all_validated and split == "train" else args.disjoint
        bar = tqdm(rows[split], desc=f"reading {split}", unit="row")
        readings = list(held_out.without(intake.read(bar, split), kinds))
        held_out.add(split, readings)
        splits[split] = intake.convert(readings, split)
    return splits


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "a release, or the folder of a language in it")
    add = parser.add_argument
    minutes = above(float, 0)
    add_label_options(parser)
    add("--train-minutes", type=minutes, metavar="M", help="default: the splits of the release")
    add("--valid-minutes", type=minutes, metavar="M", help="of the subset; default: 20")
    add("--test-minutes", type=minutes, metavar="M", help="of the subset; default: 60")
    add("--seed", type=int, default=1, metavar="N", help="of the subset; default: %(default)s")
    add("--all-validated", action="store_true", help="train on all validated clips that dev and"
        " test share no speakers or sentences with")  # fmt: skip
    for split in reversed(SPLITS):
        add(f"--{split}-list", type=Path, metavar="FILE", help=f"names of the clips of {split}")
    add_disjoint(parser)
    add_max_skipped(parser)
    add_jobs(parser)
    # One sentence in a hundred or more has a digit or a foreign letter.
    parser.set_defaults(max_skipped=0.05)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
