"""From speechocean762 to fairseq manifests of English sentences read by speakers of Mandarin.

No speaker is in two splits. valid and test lack the sentences that train has.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from audio.clips import Clip, Skipped, check_share, convert_all, write_skipped
from audio.files import RATE, BadAudio, read_header
from cli.options import above, add_jobs, add_max_skipped, corpus_parser, run
from manifest.lines import read_lines
from manifest.speakers import write_speakers
from manifest.writing import Utterance, write_letter_dictionary, write_split
from text.digits import DIGITS

LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")

EPILOG = """\
SOURCE is a clone of https://github.com/jimbozhang/speechocean762: WAVE/, train/ and test/. Its
README allows commercial and non-commercial use, free of charge.

train and valid are speakers of the corpus's train, test are those of its test, which holds 125
others. --train-minutes takes one sentence of each speaker in turn, so that ten minutes hold every
speaker. With the same --seed, a shorter train is the beginning of a longer one.

DEST gets {train,valid,test}.{tsv,wrd,ltr}, dict.ltr.txt, speakers.tsv, skipped.tsv and
audio/{train,valid,test}/*.flac. The same options give the same bytes, whatever --jobs is. An
interrupted run goes on where it stopped when it is started again.

examples:
  python manifests/speechocean762.py speechocean762 data/speechocean762
  python manifests/speechocean762.py speechocean762 data/adults --train-minutes 10 --min-age 18
  python manifests/speechocean762.py speechocean762 data/digits --digits --valid-speakers 8
"""


@dataclass(frozen=True)
class Sentence:
    """One recording of the corpus."""

    name: str
    speaker: str
    words: str
    audio: Path


def read_part(
    source: Path, part: str, ages: tuple[int, int], digits: bool
) -> dict[str, list[Sentence]]:
    """The sentences of each speaker of SOURCE/`part` whose age is within `ages`.

    Args:
        digits: only the sentences that consist of the words of digits.

    Raises:
        ValueError: a list that is missing, or that does not fit the others; no such speaker.
    """
    words, speaker_of, audio, age_of = (
        _read_table(source / part / name) for name in ("text", "utt2spk", "wav.scp", "spk2age")
    )
    speakers: dict[str, list[Sentence]] = {}
    for name in sorted(words):
        for table, entries in (("utt2spk", speaker_of), ("wav.scp", audio)):
            if name not in entries:
                raise ValueError(f"{source / part / table}: lacks {name}, which text has")
        speaker = speaker_of[name]
        age = age_of.get(speaker, "")
        if not age.isdecimal():
            place = source / part / "spk2age"
            raise ValueError(f"{place}: the age of {speaker} is {age!r}, expected a number")
        if digits and not (words[name] and all(word in DIGITS for word in words[name].split())):
            continue
        if ages[0] <= int(age) <= ages[1]:
            sentence = Sentence(name, speaker, words[name], source / audio[name])
            speakers.setdefault(speaker, []).append(sentence)
    if not speakers:
        raise ValueError(
            f"--min-age, --max-age: {part} has no speaker from {ages[0]} to {ages[1]} years"
            f"{' who reads digits' if digits else ''},"
            f" expected some of {sorted({int(age) for age in age_of.values()})}"
        )
    return speakers


def _read_table(path: Path) -> dict[str, str]:
    """Key -> the rest of the line, of a list as Kaldi has them."""
    rows = (line.split(maxsplit=1) for line in read_lines(path) if line.strip())
    return {row[0]: row[1].strip() if len(row) > 1 else "" for row in rows}


def take_turns(speakers: Mapping[str, Sequence[Sentence]], rng: Random) -> Iterator[Sentence]:
    """A sentence of each speaker in turn, in random order, until none is left."""
    decks = {name: rng.sample(speakers[name], len(speakers[name])) for name in sorted(speakers)}
    while decks:
        for name in rng.sample(sorted(decks), len(decks)):
            yield decks[name].pop()
        decks = {name: deck for name, deck in decks.items() if deck}


def lasting(sentences: Iterator[Sentence], minutes: float) -> Iterator[Sentence]:
    """The first sentences that last `minutes` or, with the last of them, a little longer.

    Raises:
        ValueError: all of them last less.
    """
    missing = minutes * 60
    for sentence in sentences:
        if missing <= 0:
            return
        try:
            header = read_header(sentence.audio)
        except BadAudio:
            pass  # the conversion names it
        else:
            missing -= header.frames / header.rate
        yield sentence
    if missing > 0:
        raise ValueError(
            f"--train-minutes: {minutes:g}, expected no more than the"
            f" {minutes - missing / 60:.1f} that the speakers of train have"
        )


def convert_split(
    split: str, sentences: Sequence[Sentence], root: Path, jobs: int
) -> tuple[list[Utterance], list[Skipped]]:
    """The utterances of a split, and what is left out."""
    usable, skipped = [], []
    for sentence in sentences:
        outside = "".join(sorted(set(sentence.words) - LETTERS))
        if outside or not sentence.words:
            found = f"{outside!r} in its transcript" if outside else "an empty transcript"
            skipped.append(Skipped(sentence.name, f"{found}, expected A to Z, ' and spaces"))
        else:
            usable.append(sentence)
    clips = [Clip(sentence.audio, f"{split}/{sentence.name}.flac") for sentence in usable]
    utterances = []
    for sentence, clip, frames in zip(usable, clips, convert_all(clips, root, jobs)):
        if isinstance(frames, BadAudio):
            skipped.append(Skipped(sentence.name, str(frames)))
        else:
            utterances.append(Utterance(clip.path, frames, sentence.words))
    return utterances, skipped


def plan(args: argparse.Namespace) -> dict[str, list[Sentence]]:
    """The sentences of each split."""
    if args.min_age > args.max_age:
        raise ValueError(
            f"--min-age: {args.min_age}, expected no more than --max-age {args.max_age}"
        )
    ages = (args.min_age, args.max_age)
    speakers, test = (read_part(args.source, part, ages, args.digits) for part in ("train", "test"))
    both = sorted(set(speakers) & set(test))
    if both:
        raise ValueError(f"{args.source}: {', '.join(both)} in train and test, expected in one")
    if args.valid_speakers >= len(speakers):
        raise ValueError(
            f"--valid-speakers: {args.valid_speakers}, expected fewer than the"
            f" {len(speakers)} speakers of train{' who read digits' if args.digits else ''}"
        )
    rng = Random(args.seed)
    held = set(rng.sample(sorted(speakers), args.valid_speakers))
    turns = take_turns({name: speakers[name] for name in speakers if name not in held}, rng)
    train = list(turns if args.train_minutes is None else lasting(turns, args.train_minutes))
    heard = {" ".join(sentence.words.split()) for sentence in train}
    splits = {"train": train}
    for split, names in (("valid", {n: speakers[n] for n in held}), ("test", test)):
        sentences = [sentence for name in sorted(names) for sentence in names[name]]
        splits[split] = [s for s in sentences if " ".join(s.words.split()) not in heard]
        if not splits[split]:
            raise ValueError(f"{split}: train has every one of its sentences, expected others")
    return splits


def prepare(args: argparse.Namespace) -> None:
    """Writes the three splits; an option or a list is refused before anything is written."""
    splits = plan(args)
    root = args.dest / "audio"
    done = {name: convert_split(name, part, root, args.jobs) for name, part in splits.items()}
    skipped = [clip for _, left_out in done.values() for clip in left_out]
    # What an earlier run with other options wrote must not stand beside this one's account.
    for split in splits:
        (args.dest / f"{split}.tsv").unlink(missing_ok=True)
    write_skipped(args.dest, skipped)
    for split, part in splits.items():
        check_share(args.dest, split, len(done[split][1]), len(part), args.max_skipped)
    speaker_of = {
        f"{split}/{sentence.name}.flac": sentence.speaker
        for split, sentences in splits.items()
        for sentence in sentences
    }
    words = {split: [u.words for u in utterances] for split, (utterances, _) in done.items()}
    write_letter_dictionary(args.dest, words["train"], [*words["valid"], *words["test"]])
    for split, (utterances, _) in done.items():
        write_split(args.dest, split, root, utterances)
        minutes = sum(utterance.frames for utterance in utterances) / RATE / 60
        people = len({speaker_of[utterance.path] for utterance in utterances})
        print(f"{split}: {len(utterances)} sentences, {minutes:.1f} minutes, {people} speakers")
    kept = {utterance.path for utterances, _ in done.values() for utterance in utterances}
    write_speakers(args.dest, {p: speaker for p, speaker in speaker_of.items() if p in kept})


def main(argv: Sequence[str] | None = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "clone of the repository speechocean762")
    add = parser.add_argument
    add("--train-minutes", type=above(float, 0), metavar="M", help="default: all that there are")
    add(
        "--valid-speakers",
        type=above(int, 0),
        default=12,
        metavar="N",
        help="speakers of the corpus's train, held out for validation; default: %(default)s",
    )
    add("--min-age", type=int, default=0, metavar="YEARS", help="default: no limit")
    add("--max-age", type=int, default=200, metavar="YEARS", help="default: no limit")
    add(
        "--digits",
        action="store_true",
        help="only sentences that consist of digits, such as TWO SIX FOUR EIGHT: as in the strings"
        " of fsdd.py, which joint.py can join with them",
    )
    add("--seed", type=int, default=1, metavar="N", help="of all random choices; default: 1")
    add_max_skipped(parser)
    add_jobs(parser)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
