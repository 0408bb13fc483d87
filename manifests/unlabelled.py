"""From folders of audio to one fairseq manifest to pre-train on.

Every file of audio below the folders, of any format that libsndfile reads and any sampling rate,
becomes 16 kHz mono FLAC. With --targets, the clips get cluster labels for masked prediction.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from audio.clips import Clip, Skipped, check_share, convert_all, write_skipped
from audio.files import LONGEST, RATE, BadAudio
from cli.options import above, add_jobs, add_max_skipped, folders_parser, run, share
from manifest.writing import Utterance, write_manifest
from targets.clusters import Settings, write_targets
from targets.mfcc import mfcc
from targets.speeds import add_speeds

# The first line is what libsndfile reads; files of the second are named in skipped.tsv.
SUFFIXES = {
    *(".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".sph", ".w64"),
    *(".wav", ".aac", ".amr", ".m4a", ".mp4", ".webm", ".wma"),
}
LOWEST_RATE = 8_000  # Hz, of a telephone: below it little of speech is left

EPILOG = f"""\
A clip is left out, and named in DEST/skipped.tsv, where it does not decode whole, is silent, is
sampled below {LOWEST_RATE} Hz, is shorter than --min-seconds or longer than {LONGEST:.0f} s: cut
such recordings first. Files whose names do not end in a suffix of audio are not looked at.

DEST gets train.tsv, valid.tsv and audio/FOLDER/*.flac. Which clips are held out for valid depends
on the clips and --seed. With --targets, it also gets {{train,valid}}.km, a cluster for every 10 ms
of each clip, and dict.km.txt:

  --targets mfcc                     39 MFCC, the targets of the first round
  --targets ENCODER.pt --layer 5     the first encoder's layer 5, those of the second round;
                                     ENCODER.pt is what `parp encoder` makes

With --speeds 0.85 1.2, train also has each clip resampled to these speeds, in the voice of somebody
smaller or larger, with the targets of the clip as it was recorded.

An interrupted run goes on where it stopped when it is started again. The audio is converted once
for both rounds.

examples:
  python manifests/unlabelled.py /data/nEMO/samples /data/mboshi data/speech --targets mfcc
  fairseq-hydra-train --config-dir recipes/pretraining --config-name masked_prediction \\
      task.data="$PWD/data/speech" checkpoint.save_dir="$PWD/runs/round1"
  parp encoder runs/round1/checkpoint_last.pt -o round1.pt
  python manifests/unlabelled.py /data/nEMO/samples /data/mboshi data/speech \\
      --targets round1.pt --layer 4 --clusters 200 --labels km2
"""


def find_clips(folders: Sequence[Path]) -> list[Clip]:
    """The files of audio below the folders, in the order of their paths.

    Raises:
        ValueError: a folder that does not exist or has no audio, two folders of the same name, or
            two files that differ in their suffixes alone.
    """
    names = Counter(folder.resolve().name for folder in folders)
    clips: list[Clip] = []
    for folder in folders:
        name = folder.resolve().name
        if not folder.is_dir():
            raise ValueError(f"FOLDER: {folder} is not a folder, expected one with audio files")
        if names[name] > 1:
            raise ValueError(f"FOLDER: {names[name]} are named {name!r}, expected different names")
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(f"FOLDER: {folder} has no audio files, expected at least one")
        for file in files:
            path = Path(name, file.relative_to(folder)).with_suffix(".flac")
            clips.append(Clip(file, path.as_posix()))
    return clips


def split_clips(
    utterances: Sequence[Utterance], valid_share: float, seed: int
) -> dict[str, list[Utterance]]:
    """train and valid; the latter has `valid_share` of the clips, at least one.

    Raises:
        ValueError: no clip is left for one of them.
    """
    held = max(1, round(valid_share * len(utterances)))
    if len(utterances) <= held:
        raise ValueError(
            f"--valid-share: {valid_share} leaves none of {len(utterances)} clips to train on"
        )
    chosen = set(Random(seed).sample(range(len(utterances)), held))
    parts: dict[str, list[Utterance]] = {"train": [], "valid": []}
    for number, utterance in enumerate(utterances):
        parts["valid" if number in chosen else "train"].append(utterance)
    return parts


def make_features(args: argparse.Namespace) -> tuple[Callable, int, str]:
    """What computes the frames of a clip, how many times 10 ms one lasts, and what they are."""
    if args.targets == "mfcc":
        return mfcc, 1, "mfcc"
    from targets.encoder import Layer

    layer = Layer(Path(args.targets), args.layer, args.jobs)
    return layer, layer.repeats, f"layer {args.layer} of {layer.digest}"


def prepare(args: argparse.Namespace) -> None:
    """Writes the manifests and, on request, the targets."""
    if (args.layer is None) != (args.targets in (None, "mfcc")):
        raise ValueError("--layer: expected it with --targets ENCODER.pt, and with that alone")
    if args.speeds and not args.targets:
        raise ValueError("--speeds: expected it with --targets")
    if 1 in args.speeds or len(set(args.speeds)) < len(args.speeds):
        raise ValueError(f"--speeds: {args.speeds}, expected different numbers other than 1")
    features = make_features(args) if args.targets else None
    clips = find_clips(args.folders)
    root = args.dest / "audio"
    utterances: list[Utterance] = []
    skipped: list[Skipped] = []
    for clip, found in zip(clips, convert_all(clips, root, args.jobs, LOWEST_RATE)):
        if not isinstance(found, BadAudio) and found < args.min_seconds * RATE:
            found = BadAudio(f"{found / RATE:.2f} s, expected {args.min_seconds:g} s or more")
        if isinstance(found, BadAudio):
            skipped.append(Skipped(str(clip.source), str(found)))
        else:
            utterances.append(Utterance(clip.path, found, ""))
    write_skipped(args.dest, skipped)
    check_share(args.dest, "all folders", len(skipped), len(clips), args.max_skipped)
    splits = split_clips(utterances, args.valid_share, args.seed)
    if features is not None:
        compute, repeats, about = features
        settings = Settings(about, args.clusters, args.seed, args.labels)
        jobs = args.jobs if args.targets == "mfcc" else 1  # the encoder has threads of its own
        write_targets(args.dest, root, splits, compute, repeats, settings, jobs)
        splits["train"] = add_speeds(
            args.dest, root, splits["train"], args.speeds, args.labels, args.jobs
        )
    for split, part in splits.items():
        write_manifest(args.dest, split, root, part)
        hours = sum(utterance.frames for utterance in part) / RATE / 3600
        print(f"{split}: {len(part)} clips, {hours:.2f} hours")
    print(f"skipped: {len(skipped)} of {len(clips)} clips, see {args.dest / 'skipped.tsv'}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = folders_parser(__doc__, EPILOG, "folder of audio files; looked through to the bottom")
    add = parser.add_argument
    add(
        "--valid-share",
        type=share,
        default=0.01,
        metavar="SHARE",
        help="of the clips, held out for validation; default: %(default)s",
    )
    add(
        "--min-seconds",
        type=above(float, 0),
        default=0.7,
        metavar="S",
        help="leave out shorter clips; default: %(default)s",
    )
    add("--targets", metavar="mfcc|ENCODER.pt", help="what to cluster; default: no targets")
    add("--layer", type=above(int, 0), metavar="N", help="of the encoder; counts from 1")
    add(
        "--clusters",
        type=above(int, 1),
        default=100,
        metavar="N",
        help="of k-means; default: %(default)s",
    )
    add("--labels", default="km", metavar="SUFFIX", help="of the targets; default: %(default)s")
    add(
        "--speeds",
        type=above(float, 0),
        nargs="+",
        default=[],
        metavar="S",
        help="add the clips of train at these speeds, such as 0.85 1.2; default: none",
    )
    add("--seed", type=int, default=1, metavar="N", help="of all random choices; default: 1")
    add_max_skipped(parser)
    add_jobs(parser)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
