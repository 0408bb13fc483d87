"""Manifests, audio and labels: what fairseq would misread, or fail at later, is found at loading.

fairseq makes a symbol that the dictionary lacks ``<unk>`` without a word, and opens the audio when
a batch needs it.
"""

import logging
import unicodedata
from pathlib import Path
from typing import Any, List, Optional

from fairseq.data import Dictionary
from fairseq.distributed import utils as distributed_utils
from omegaconf import OmegaConf

from .audio_headers import Clip, find_bad_clips
from .corpora import corpora_of
from .dictionary import BOM

logger = logging.getLogger(__name__)

WORD_END = "|"
# First words of the Unicode names of letters that are written without spaces between words.
_WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


def require_data(cfg: Any) -> None:
    """Raise ValueError where ``task.data`` is not given; whether it exists is seen when it is read.

    A recipe leaves it open with ``???``, which fairseq 0.12.3 reads as null.
    """
    is_missing = OmegaConf.is_config(cfg) and OmegaConf.is_missing(cfg, "data")
    if is_missing or cfg.data is None:
        raise ValueError(
            "task.data is not given, expected the folder with the manifests, labels and dictionary"
        )


def require_split(
    data: Path, split: str, cfg: Any, dictionary: Dictionary, shortest: int, trains: bool
) -> None:
    """Raise where fairseq could not load the manifest, the audio and the labels of ``split``.

    Args:
        data: the folder of manifests.
        split: the name of the split; several as KEY:NAME,KEY:NAME with ``multi_corpus_keys``.
        cfg: options of the task: those of the run, or those that a checkpoint remembers.
        dictionary: symbols that the labels may hold.
        shortest: the least number of samples of which the encoder makes a frame.
        trains: whether the split is trained on; others need no words to score.

    Raises:
        FileNotFoundError: manifest, labels or audio are missing.
        ValueError: they are empty or malformed, do not fit one another, or hold an unknown symbol.
    """
    names = [split]
    if getattr(cfg, "multi_corpus_keys", None):
        names = [name for _, name in corpora_of(split)]
    for name in names:
        manifest, labels = data / f"{name}.tsv", data / f"{name}.{cfg.labels}"
        binarized = getattr(cfg, "binarized_dataset", False)  # audio and sizes are in other files
        num_lines = None if binarized else _require_manifest(manifest, cfg, shortest)
        lines = _read(labels, "label file", f"task.labels is {cfg.labels}")
        if num_lines not in (None, len(lines)):
            raise ValueError(
                f"label file {labels} has {len(lines)} lines, expected {num_lines}: one for each "
                f"audio file of {manifest}"
            )
        _require_symbols(labels, lines, dictionary)
        _require_words(labels, lines, cfg.labels, trains)


def _read(path: Path, kind: str, option: str) -> List[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{kind} {path} does not exist: {option}")
    try:
        with path.open() as file:  # in the encoding of the locale, as fairseq does
            lines = list(file)
    except UnicodeDecodeError as error:
        raise ValueError(f"{kind} {path}: {error}") from None
    if lines and lines[0].startswith(BOM):
        raise ValueError(
            f"{kind} {path}, line 1: it begins with a byte order mark (BOM); expected UTF-8 without"
        )
    return lines


def _require_manifest(manifest: Path, cfg: Any, shortest: int) -> int:
    """Number of utterances."""
    lines = _read(manifest, "manifest", "see task.data and the names of the subsets")
    if len(lines) < 2:
        raise ValueError(
            f"manifest {manifest} names no audio file: expected a folder, then lines of a path in "
            "it, a tab, and the number of samples"
        )
    root = Path(lines[0].strip())
    missing, clips = [], []
    for number, line in enumerate(lines[1:], start=2):
        name, tab, samples = line.strip().partition("\t")
        if not (tab and samples.isdecimal()):
            raise ValueError(
                f"manifest {manifest}, line {number}: expected a path, a tab and the number of "
                f"samples, found {line.strip()!r}"
            )
        if (root / name).is_file():
            clips.append(Clip(number, root / name, int(samples)))
        elif not (root / name.partition(":")[0]).is_file():  # in a zip file: PATH:OFFSET:LENGTH
            missing.append((number, root / name))
    if missing:
        number, audio = missing[0]
        raise FileNotFoundError(
            f"manifest {manifest}, line {number}: audio file {audio} does not exist"
            f"{_and_others(len(missing) - 1)}"
        )
    _require_audio(manifest, clips, cfg, shortest)
    return len(lines) - 1


def _require_audio(manifest: Path, clips: List[Clip], cfg: Any, shortest: int) -> None:
    if distributed_utils.get_global_rank() != 0:
        return  # one rank reads the headers, and stops all where something is wrong
    least = getattr(cfg, "min_sample_size", None) or 0
    used = [clip for clip in clips if clip.samples >= least]  # fairseq leaves out the rest
    bad = find_bad_clips(used, cfg.sample_rate, shortest)
    if bad:
        clip, fault = bad[0]
        raise ValueError(
            f"manifest {manifest}, line {clip.line}: {clip.path}: {fault}"
            f"{_and_others(len(bad) - 1)}"
        )


def _and_others(number: int) -> str:
    return f", and {number} more like it" if number else ""


def _require_symbols(labels: Path, lines: List[str], dictionary: Dictionary) -> None:
    known = set(dictionary.symbols)
    for number, line in enumerate(lines, start=1):
        if not known.issuperset(line.split()):
            symbol = next(symbol for symbol in line.split() if symbol not in known)
            raise ValueError(
                f"label file {labels}, line {number}: the dictionary lacks the symbol {symbol!r}; "
                f"expected one of its {len(known)}, or {dictionary.unk_word}"
            )


def _require_words(labels: Path, lines: List[str], suffix: str, trains: bool) -> None:
    """Raise ValueError where there is nothing to train on, or letters that are not words."""
    if not any(line.replace(WORD_END, " ").split() for line in lines):
        if trains:
            raise ValueError(f"label file {labels} holds no words: there is nothing to train on")
        logger.warning(
            f"label file {labels} holds no words: there is nothing to score, and a WER of 0.00 "
            "means nothing"
        )
    elif suffix == "ltr" and not any(WORD_END in line for line in lines):
        number = _first_of_several_words(labels, lines)
        if number is not None:
            raise ValueError(
                f"label file {labels}, line {number}: no {WORD_END!r} ends a word, here or in any "
                f"other line, so each line would be scored as one word; expected letters as in "
                f"'G O | O N |'"
            )


def _first_of_several_words(labels: Path, lines: List[str]) -> Optional[int]:
    """Number of the first line that stands for several words, as far as can be known.

    The words are in the .wrd file beside the labels. Without one, a line with letters of a script
    that is written with spaces counts.
    """
    words = labels.with_suffix(".wrd")
    if words.is_file():
        texts = words.read_text(encoding="utf-8", errors="replace").splitlines()
        several = (len(text.split()) > 1 for text in texts)
    else:
        several = (any(map(_is_spaced, line.split())) for line in lines)
    return next((number for number, is_so in enumerate(several, start=1) if is_so), None)


def _is_spaced(symbol: str) -> bool:
    letter = symbol[0]
    return letter.isalpha() and not unicodedata.name(letter, "").startswith(_WITHOUT_SPACES)
