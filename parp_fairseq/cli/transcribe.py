"""``parp transcribe``: audio files to text."""

import json
import logging
import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

from .parsing.options import add_user_dir, import_user_dir

HELP = "transcribe audio files"
DESCRIPTION = """\
Transcribe audio files with a finetuned checkpoint.

Files can have any format that libsndfile reads (WAV, FLAC, Ogg, Opus, MP3, ...), any sampling rate
and any length. Long recordings are cut into windows at silences; where there is no silence,
windows overlap. A file that cannot be read is reported on stderr, the others are transcribed, and
the exit status is 1. Rates other than 16 kHz need soxr (pip install 'parp_fairseq[data]')."""
EXAMPLES = """\
  parp transcribe checkpoint_best.pt talk.mp3
  parp transcribe checkpoint_best.pt *.flac --format json > words.jsonl
  parp transcribe checkpoint_best.pt talk.wav --decoder lexicon --lexicon lexicon.txt \\
      --kenlm words.bin --lm-weight 2 --word-score -1"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="finetuned checkpoint of fairseq"
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="audio files")
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="text: a line for each file, with its name and a tab before it if there are several; "
        "json: a JSON object for each file, with the times of the words in seconds (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--window",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="the longest piece of a recording that the network sees at once; memory grows with "
        "it (default: %(default)g)",
    )
    parser.add_argument(
        "--decoder",
        choices=("greedy", "lexicon", "lexicon_free"),
        default="greedy",
        help="as for fairseq-generate (default: %(default)s)",
    )
    parser.add_argument("--lexicon", metavar="FILE", help="lexicon of words")
    parser.add_argument("--kenlm", metavar="FILE", help="n-gram model: KenLM or ARPA")
    parser.add_argument(
        "--lm-weight",
        type=float,
        default=0.0,
        metavar="W",
        help="weight of the language model (default: %(default)g)",
    )
    parser.add_argument(
        "--word-score",
        type=float,
        metavar="S",
        help="added to the score for each word of the lexicon (default: 0)",
    )
    parser.add_argument(
        "--beam",
        type=int,
        default=50,
        metavar="N",
        help="hypotheses that the last two decoders keep (default: %(default)s)",
    )
    add_user_dir(parser)
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")


def run(args: Namespace) -> int:
    """Returns 1 if a file could not be transcribed."""
    from tqdm import tqdm

    logging.getLogger("fairseq").setLevel(logging.WARNING)  # before it is imported

    from parp_fairseq.transcription import BadRecording

    transcriber = _load(args)
    failed = 0
    with tqdm(total=_total_seconds(args.files), unit="s", disable=None) as bar:
        bar.bar_format = "{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]"
        for file in args.files:
            bar.set_description(file.name)
            try:
                transcript = transcriber.transcribe(file, bar.update)
            except (BadRecording, OSError) as error:
                tqdm.write(f"parp: {error}", file=sys.stderr)
                failed += 1
                continue
            tqdm.write(_format(args, file, transcript), file=sys.stdout)
            sys.stdout.flush()
    if failed:
        print(f"parp: {failed} of {len(args.files)} files were not transcribed", file=sys.stderr)
    return 1 if failed else 0


def _load(args: Namespace):
    from parp_fairseq.transcription import Transcriber
    from parp_fairseq.transcription.loading import load_network
    from parp_fairseq.transcription.windows import SHORTEST

    if not SHORTEST <= args.window < float("inf"):
        raise ValueError(f"--window is {args.window:g}: expected {SHORTEST:g} seconds or more")
    import_user_dir(args)
    network, task = load_network(args.checkpoint, args.cpu)
    dictionary = task.target_dictionary
    blank = dictionary.index(task.blank_symbol)
    search = _build_search(args, dictionary, blank)
    return Transcriber(network, dictionary.symbols, blank, task.cfg.normalize, search, args.window)


def _build_search(args: Namespace, dictionary, blank: int):
    from parp_fairseq.tasks.decoding import DecodingConfig, build_search

    options = DecodingConfig(
        decoder=args.decoder, kenlm=args.kenlm, lexicon=args.lexicon, word_score=args.word_score
    )
    generation = Namespace(beam=args.beam, lm_weight=args.lm_weight, lm_path=None)
    return build_search(options, generation, dictionary, blank)


def _total_seconds(files) -> float:
    """The length of all files that can be read, for the progress bar."""
    from parp_fairseq.transcription import BadRecording, Recording

    total = 0.0
    for file in files:
        with suppress(BadRecording, OSError):  # it is reported when its turn comes
            total += Recording(file).seconds
    return total


def _format(args: Namespace, file: Path, transcript) -> str:
    if args.format == "text":
        return f"{file}\t{transcript.text}" if len(args.files) > 1 else transcript.text
    words = [
        {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
        for word in transcript.words
    ]
    return json.dumps(
        {
            "file": str(file),
            "seconds": round(transcript.seconds, 3),
            "text": transcript.text,
            "words": words,
        },
        ensure_ascii=False,
    )
