"""Make the mini corpus: English sentences from a small grammar, spoken by espeak-ng."""

import argparse
import importlib.util
import io
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SAMPLE_RATE = 16_000
COMPRESSION = 0.9  # of libvorbis, 0 to 1: about 31 kbit/s
SHORTEST, LONGEST = 2.0, 5.0  # seconds an utterance

# Variants of espeak-ng 1.51; its whispers, croaks and robots are left out. Odd ones, whose formants
# are moved against each other by more than a quarter or which the Klatt synthesiser speaks, are for
# unlabelled speech only.
UNLABELLED_VARIANTS = (
    "f1", "f2", "f3", "m1", "m2", "m3", "m5", "m6", "m8", "Alex", "steph", "steph3", "belinda",
    "paul", "rob", "robert", "ed", "Lee", "Gene", "Diogo", "anika", "victor", "adam", "Andrea",
    "Annie", "antonio", "benjamin", "boris", "caleb", "david", "edward", "Gene2", "grandpa",
    "grandma", "Hugo", "Jacky", "Marco", "marcelo", "max", "miguel", "michel", "Henrique",
    "pablo", "pedro", "steph2", "travis", "zac", "Alicia", "kaukovalta",
)  # fmt: skip
ODD_VARIANTS = (
    "Jacky", "Lee", "Marco", "adam", "benjamin", "boris", "caleb", "david", "edward", "kaukovalta",
    "marcelo", "travis",
)  # fmt: skip
VARIANTS = {
    "train": tuple(v for v in UNLABELLED_VARIANTS if v not in ODD_VARIANTS),
    "valid": ("f5", "m4", "sandro", "john", "quincy"),
    "test": ("f4", "linda", "m7", "Nguyen", "Mike", "Denis"),
}
MINUTES = {"train": 20.0, "valid": 3.1, "test": 3.3}


@dataclass(frozen=True)
class Manner:
    """What the voices of a corpus are drawn from."""

    accents: Sequence[str]
    rates: range  # words a minute
    gaps: range  # pause between words, in 10 ms


# Labelled speech is read with care, slowly and word by word.
LABELLED = Manner(("en-us", "en-gb", "en-gb-x-rp"), range(110, 141), range(2, 5))
UNLABELLED = Manner(
    (*LABELLED.accents, "en-gb-scotland", "en-029", "en-us-nyc", "en-gb-x-gbcwmd"),
    range(120, 156),
    range(4),
)


@dataclass(frozen=True)
class Voice:
    variant: str
    accent: str
    pitch: int  # espeak-ng -p, 0 to 99
    rate: int
    gap: int

    @property
    def name(self) -> str:
        return f"{self.accent}+{self.variant}-p{self.pitch}-s{self.rate}-g{self.gap}"


@dataclass(frozen=True)
class Line:
    """One utterance to be spoken: where it goes, who says it, what is said."""

    path: str
    voice: Voice
    words: str


class Grammar:
    """Word classes and sentence patterns; the least used words of a class are drawn first."""

    def __init__(self, text: str) -> None:
        self.classes: dict[str, list[str]] = {}
        self.patterns: list[list[str]] = []
        for line in text.splitlines():
            if line.startswith("> "):
                self.patterns.append(line[2:].split())
            elif " = " in line and not line.startswith("#"):
                name, words = line.split(" = ", 1)
                self.classes.setdefault(name, []).extend(words.split())
        self.vocabulary = sorted(
            {word for words in self.classes.values() for word in words}
            | {item for pattern in self.patterns for item in pattern if item.islower()}
        )

    def sentences(self, rng: random.Random, avoid: set[str]) -> Iterator[str]:
        """Endless sentences, none of them in `avoid`, no word twice in a sentence."""
        used: Counter[str] = Counter()
        while True:
            words: list[str] = []
            for item in rng.choice(self.patterns):
                choices = [w for w in self.classes.get(item, [item]) if w not in words]
                words.append(min(choices or [item], key=lambda w: (used[w], rng.random())))
            sentence = " ".join(words)
            if len(set(words)) == len(words) and sentence not in avoid:
                used.update(words)
                yield sentence


def draw_voice(rng: random.Random, variant: str, manner: Manner) -> Voice:
    return Voice(
        variant,
        accent=rng.choice(manner.accents),
        pitch=rng.randrange(30, 71),
        rate=rng.choice(manner.rates),
        gap=rng.choice(manner.gaps),
    )


def labelled_lines(grammar: Grammar, seed: int) -> dict[str, list[Line]]:
    """More lines than needed for each split; those spoken first fill the split's minutes."""
    lines: dict[str, list[Line]] = {}
    said: set[str] = set()
    for split in ("test", "valid", "train"):
        rng = random.Random(f"{seed} {split}")
        variants = VARIANTS[split]
        sentences = grammar.sentences(rng, avoid=said)
        count = int(MINUTES[split] * 60 / SHORTEST)
        chosen = [next(sentences) for _ in range(count)]
        said.update(chosen)
        lines[split] = [
            Line(
                f"{split}/{i:03d}.ogg",
                draw_voice(rng, variants[i % len(variants)], LABELLED),
                words,
            )
            for i, words in enumerate(chosen)
        ]
    return lines


def unlabelled_lines(grammar: Grammar, seed: int, seconds: float) -> list[Line]:
    """Lines for unlabelled speech: a new voice each time, never a sentence of valid or test."""
    labelled = labelled_lines(grammar, seed)
    held_out = {line.words for split in ("valid", "test") for line in labelled[split]}
    rng = random.Random(f"{seed} unlabelled")
    sentences = grammar.sentences(rng, avoid=held_out)
    lines = []
    for i in range(int(seconds / SHORTEST)):
        voice = draw_voice(rng, UNLABELLED_VARIANTS[i % len(UNLABELLED_VARIANTS)], UNLABELLED)
        lines.append(Line(f"{i // 1000:02d}/{i % 1000:03d}.flac", voice, next(sentences)))
    return lines


def speak(line: Line, root: Path) -> int:
    """Write one utterance below root; its frames, or 0 where its length is out of bounds."""
    import soundfile
    from scipy.signal import resample_poly

    voice = line.voice
    command = ["espeak-ng", "-v", f"{voice.accent}+{voice.variant}", "-p", str(voice.pitch)]
    command += ["-s", str(voice.rate), "-g", str(voice.gap), "--stdout", line.words]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0 or not done.stdout:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode().strip()}")
    samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    samples = resample_poly(samples, SAMPLE_RATE, rate)
    samples *= 0.5 / max(abs(samples).max(), 1e-6)
    if not SHORTEST <= len(samples) / SAMPLE_RATE <= LONGEST:
        return 0
    path = root / line.path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name("." + path.name)
    if path.suffix == ".ogg":
        form = {"format": "OGG", "subtype": "VORBIS", "compression_level": COMPRESSION}
    else:
        form = {"format": "FLAC", "subtype": "PCM_16"}
    soundfile.write(partial, samples, SAMPLE_RATE, **form)
    partial.replace(path)
    return len(samples)


def speak_all(lines: list[Line], root: Path, seconds: float, jobs: int) -> list[tuple[Line, int]]:
    """Speak lines in order until `seconds` are full; (line, frames) of those kept."""
    from tqdm import tqdm

    kept, left = [], int(seconds * SAMPLE_RATE)
    bar = tqdm(
        total=seconds / 60,
        desc=str(root / lines[0].path.split("/")[0]),
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} min [{elapsed}]",
    )
    with ProcessPoolExecutor(jobs) as pool, bar:
        for start in range(0, len(lines), 16 * jobs):
            block = lines[start : start + 16 * jobs]
            for line, frames in zip(block, pool.map(speak, block, [root] * len(block))):
                if frames and left > 0:
                    kept.append((line, frames))
                    bar.update(min(frames, left) / SAMPLE_RATE / 60)
                    left -= frames
                else:
                    (root / line.path).unlink(missing_ok=True)
            if left <= 0:
                return kept
    raise RuntimeError(f"{root}: the lines ran out {left / SAMPLE_RATE:.0f} s too early")


def write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def make_labelled(dest: Path, grammar: Grammar, seed: int, jobs: int) -> None:
    rows = ["split\tpath\tframes\tvoice\twords"]
    for split, lines in labelled_lines(grammar, seed).items():
        for line, frames in speak_all(lines, dest / "audio", MINUTES[split] * 60, jobs):
            rows.append(f"{split}\t{line.path}\t{frames}\t{line.voice.name}\t{line.words}")
    write_text(dest / "transcripts.tsv", "\n".join(rows) + "\n")


def make_unlabelled(dest: Path, grammar: Grammar, seed: int, hours: float, jobs: int) -> None:
    audio = dest.resolve() / "audio"
    kept = speak_all(unlabelled_lines(grammar, seed, hours * 3600), audio, hours * 3600, jobs)
    rows = [f"{line.path}\t{frames}" for line, frames in kept]
    held = max(1, len(rows) // 50)  # every fiftieth minute watches the pre-training
    for split, part in (("valid", rows[:held]), ("train", rows[held:])):
        write_text(dest / f"{split}.tsv", "\n".join([str(audio), *part]) + "\n")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""examples:
  python manifests/mini/make.py manifests/mini
      the labelled corpus, as it is shipped: audio/{train,valid,test}/ and transcripts.tsv
  python manifests/mini/make.py --unlabelled-hours 3.5 data/mini-unlabelled
      speech without labels for pre-training: audio/, train.tsv and valid.tsv, ready for
      fairseq-hydra-train --config-dir recipes/pretraining --config-name mini
The same seed gives the same sentences and the same voices, and with the same espeak-ng the same
speech.""",
    )
    parser.add_argument("dest", type=Path, help="folder to write into; made if it is not there")
    parser.add_argument(
        "--unlabelled-hours",
        type=float,
        metavar="H",
        help="make H hours of unlabelled speech instead of the labelled corpus",
    )
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="parallel speakers; default: all cores",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if shutil.which("espeak-ng") is None:
        sys.exit("espeak-ng was not found. Install it, e.g. with: apt-get install espeak-ng")
    for module in ("scipy", "soundfile", "tqdm"):
        if importlib.util.find_spec(module) is None:
            sys.exit(f"The Python package {module} was not found. Install it: pip install {module}")
    if args.unlabelled_hours is not None and not 0 < args.unlabelled_hours < 1000:
        sys.exit(f"--unlabelled-hours: {args.unlabelled_hours}, expected more than 0")
    if args.jobs < 1:
        sys.exit(f"--jobs: {args.jobs}, expected 1 or more")
    args.dest.mkdir(parents=True, exist_ok=True)
    grammar = Grammar((HERE / "grammar.txt").read_text(encoding="utf-8"))
    try:
        if args.unlabelled_hours is None:
            make_labelled(args.dest, grammar, args.seed, args.jobs)
        else:
            make_unlabelled(args.dest, grammar, args.seed, args.unlabelled_hours, args.jobs)
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
