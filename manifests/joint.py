"""Joins prepared corpora, such as those of several languages, into one with one dictionary.

You can train on all utterances alike, or draw from each corpus by weight, so that small ones count.
"""

import argparse
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from cli.options import run, share
from manifest.prepared import Corpus, in_case, read_corpus, require_one_case
from manifest.reading import LABELS, OWN_SYMBOLS, WORDS, Split
from manifest.sampling import sampling_weights, write_options
from manifest.speakers import find_speaker, write_speakers
from manifest.writing import write_counts, write_labels, write_lines
from tabulate import tabulate

WEIGHTED = "weighted.txt"
NAME = re.compile(r"[\w.-]+", re.ASCII)
# How the tag of a line is written, so that it is a word of its own in every kind of label.
TAG = {"ltr": "<{}> |", "phn": "<{}>", "spm": "\N{LOWER ONE EIGHTH BLOCK}<{}>"}

EPILOG = """\
CORPUS is a folder that another script here wrote, or NAME=FOLDER. Without NAME it has the name of
its folder. Labels (.ltr, .phn, .spm) that all corpora have are joined. The dictionary has the
symbols of all corpora, with their counts added up.

Letters that differ only in case are one letter in one corpus and another letter in the next: A in
LibriSpeech, a in CommonVoice. That is an error. --case upper or --case lower writes all words,
letters and units in one case.

DEST gets each split joined (train, valid, test, ...) and each corpus alone (train_es, ...), with
the audio left where it is; speakers.tsv; and weighted.txt. This trains on all utterances alike:

  fairseq-hydra-train ... task.data="$PWD/data/all"

and this draws them by weight: weighted.txt has options of fairseq 0.12.3, which 0.12.2 lacks. A
corpus of n training utterances gets a share proportional to n^alpha. Alpha 1 is the share that it
has anyway, 0 the same share for each, 0.5 the usual choice.

  fairseq-hydra-train ... task.data="$PWD/data/all" $(cat data/all/weighted.txt)

Either way, fairseq-generate scores all corpora (--gen-subset test) or one (--gen-subset test_es).

With --tags, the labels of each line begin with a symbol for its corpus, such as <es>, which the
network learns to tell. In the error rate it counts as a word, or as a phone.

Sentencepiece units of several corpora are joined too. For units that are trained on the words of
all corpora: python manifests/sentencepiece_labels.py DEST.

examples:
  python manifests/joint.py data/es data/fr data/it data/all
  python manifests/joint.py es=data/es-1h fr=data/fr-1h it=data/it-1h data/all --alpha 0.3 --tags
  python manifests/joint.py data/librispeech_10h data/de data/both --case lower
"""

Members = list[tuple[str, Split]]  # name of a corpus, and a split of it
Groups = dict[str, Members]  # name of a joint split -> what is in it


def join(corpora: Sequence[Corpus], dest: Path, weights: Sequence[float], tags: bool) -> None:
    """Writes every split joined and of each corpus alone, and what goes with them.

    Raises:
        ValueError: no labels that all corpora have, audio that two have, or a name that would be
            written twice; nothing is written then.
    """
    suffixes = [s for s in LABELS if all(s in corpus.dictionaries for corpus in corpora)]
    if not suffixes:
        found = ", ".join(f"{c.name} has {' '.join(c.dictionaries) or 'none'}" for c in corpora)
        raise ValueError(f"{dest}: no labels that all corpora have ({found}), expected some")
    groups = group(corpora)
    _require_ours(dest, groups)
    roots = {split.root for members in groups.values() for _, split in members}
    root = Path(os.path.commonpath([path.absolute() for path in roots]))
    manifests = {name: _manifest(dest, name, root, members) for name, members in groups.items()}
    write_options(dest / WEIGHTED, dict(zip((corpus.name for corpus in corpora), weights)))
    for suffix in suffixes:
        counts: Counter[str] = Counter()
        for corpus in corpora:
            counts.update(corpus.dictionaries[suffix])
            if tags:
                counts.update(dict.fromkeys(tag(corpus.name, suffix).split(), corpus.size))
        write_counts(dest, suffix, counts)
    (dest / "speakers.tsv").unlink(missing_ok=True)
    speaker_of = _speakers(corpora, root)
    if speaker_of:
        write_speakers(dest, speaker_of)
    has_words = all(WORDS in split.labels for members in groups.values() for _, split in members)
    for name, members in groups.items():
        # Removed first and written last: if the .tsv file exists, its labels do too.
        (dest / f"{name}.tsv").unlink(missing_ok=True)
        for suffix in suffixes:
            heads = [f"{tag(corpus, suffix)} " if tags else "" for corpus, _ in members]
            lines = (h + line for h, (_, s) in zip(heads, members) for line in s.labels[suffix])
            write_labels(dest, name, suffix, lines)
        if has_words:
            write_labels(dest, name, WORDS, (w for _, s in members for w in s.labels[WORDS]))
        write_lines(dest / f"{name}.tsv", manifests[name])


def tag(corpus: str, suffix: str) -> str:
    """The tag of a corpus as labels of that kind: a word of its own, or a phone."""
    return TAG[suffix].format(corpus)


def group(corpora: Sequence[Corpus]) -> Groups:
    """Joint split -> corpora and their splits: each split of all, then of each corpus alone."""
    names = dict.fromkeys(name for corpus in corpora for name in corpus.splits)
    groups = {
        name: [(c.name, c.splits[name]) for c in corpora if name in c.splits] for name in names
    }
    for name in names:
        for corpus, split in groups[name]:
            alone = f"{name}_{corpus}"
            if alone in groups:
                raise ValueError(
                    f"{corpus}: its {name} would be named {alone}, like another split,"
                    " expected another name: NAME=FOLDER"
                )
            groups[alone] = [(corpus, split)]
    return groups


def _require_ours(dest: Path, groups: Groups) -> None:
    """Raises ValueError if DEST has manifests, but not of an earlier run of the same corpora."""
    for path in sorted(dest.glob("*.tsv")):
        known = path.stem in groups or path.name == "speakers.tsv"
        if not (known and (dest / WEIGHTED).is_file()):
            raise ValueError(
                f"{path}: of another corpus, expected a new DEST, or one made of these corpora"
            )


def _manifest(dest: Path, name: str, root: Path, members: Members) -> list[str]:
    """The lines of a .tsv file whose paths start at `root`."""
    corpus_of: dict[str, str] = {}
    lines = [str(root)]
    for corpus, split in members:
        prefix = _below(root, split)
        for entry in split.entries:
            path = prefix + entry.path
            if path in corpus_of:
                raise ValueError(
                    f"{dest / name}.tsv: {path!r} is of {corpus_of[path]} and of {corpus}, "
                    "expected each file in one corpus"
                )
            corpus_of[path] = corpus
            lines.append(f"{path}\t{entry.frames}")
    return lines


def _below(root: Path, split: Split) -> str:
    """The prefix of the paths of a split when they start at `root`."""
    folder = split.root.absolute().relative_to(root).as_posix()
    return "" if folder == "." else f"{folder}/"


def _speakers(corpora: Sequence[Corpus], root: Path) -> dict[str, str]:
    """Path -> corpus and speaker, because two corpora may use the same names for speakers."""
    return {
        prefix + entry.path: f"{corpus.name}/{speaker}"
        for corpus in corpora
        for split in corpus.splits.values()
        for prefix in [_below(root, split)]
        for entry in split.entries
        if (speaker := find_speaker(entry.path, corpus.speakers))
    }


def report(corpora: Sequence[Corpus], weights: Sequence[float]) -> None:
    splits = list(dict.fromkeys(name for corpus in corpora for name in corpus.splits))
    total = sum(corpus.size for corpus in corpora)
    rows = []
    for corpus, weight in zip(corpora, weights):
        sizes = [
            len(corpus.splits[name].entries) if name in corpus.splits else 0 for name in splits
        ]
        rows.append([corpus.name, *sizes, f"{corpus.size / total:.1%}", f"{weight:.1%}"])
    print(tabulate(rows, ["utterances", *splits, "share of train", "weighted"]))


def prepare(args: argparse.Namespace) -> None:
    names = [name for name, _ in args.corpora]
    if len(names) < 2:
        raise ValueError(f"CORPUS: {names[0]} alone, expected two corpora or more")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"CORPUS: two are named {name}, expected NAME=FOLDER")
        if args.tags and f"<{name}>" in OWN_SYMBOLS:
            raise ValueError(
                f"--tags: <{name}> is a symbol of fairseq's own, expected another NAME"
            )
    corpora = [read_corpus(name, data) for name, data in args.corpora]
    if args.case:
        corpora = [in_case(corpus, args.case) for corpus in corpora]
    require_one_case(corpora)
    weights = sampling_weights([corpus.size for corpus in corpora], args.alpha)
    join(corpora, args.dest, weights, args.tags)
    report(corpora, weights)


def named_folder(text: str) -> tuple[str, Path]:
    """An argparse type: NAME=FOLDER, or a folder whose name is used."""
    name, is_named, folder = text.partition("=")
    path = Path(folder if is_named else text)
    name = name if is_named else path.absolute().name
    if not NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"the name {name!r} in {text!r}, expected letters, digits, '.', '_' and '-'"
        )
    return name, path


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "corpora",
        metavar="CORPUS",
        nargs="+",
        type=named_folder,
        help="folder of manifests, or NAME=FOLDER",
    )
    add("dest", metavar="DEST", type=Path, help="folder to write; made where it is missing")
    add(
        "--alpha",
        type=share,
        default=0.5,
        metavar="A",
        help="from 0 to 1: how much of its size counts in a corpus's weight; default: %(default)s",
    )
    add("--tags", action="store_true", help="begin each line of labels with a symbol of its corpus")
    add("--case", choices=("upper", "lower"), help="write words, letters and units in this case")
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
