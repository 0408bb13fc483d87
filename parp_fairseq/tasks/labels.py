"""Manifests and labels that fairseq would take amiss, or trip over later: told as they are loaded.

fairseq makes a symbol that the dictionary lacks ``<unk>`` without a word, and looks for the audio
when a batch needs it.
"""

from pathlib import Path
from typing import Any, List

from fairseq.data import Dictionary

from .corpora import corpora_of


def load_dictionary(path: Path) -> Dictionary:
    """The dictionary in ``path``.

    Raises:
        FileNotFoundError, ValueError: there is none; the message names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"dictionary {path} does not exist: see task.data and task.labels")
    try:
        dictionary = Dictionary.load(str(path))
    except Exception as error:  # fairseq raises a plain Exception for bytes that are no UTF-8
        raise ValueError(f"dictionary {path}: {error}") from None
    if len(dictionary) == dictionary.nspecial:
        raise ValueError(f"dictionary {path} is empty: expected lines of a symbol and a count")
    return dictionary


def require_split(data: Path, split: str, cfg: Any, dictionary: Dictionary) -> None:
    """Raise where fairseq could not load the manifest and the labels of ``split``, or use them.

    Args:
        data: the folder of manifests.
        split: the name of the split; several as KEY:NAME,KEY:NAME with ``multi_corpus_keys``.
        cfg: options of the task: those of the run, or those that a checkpoint remembers.
        dictionary: symbols that the labels may hold.

    Raises:
        FileNotFoundError: manifest, labels or audio are missing.
        ValueError: they are empty or malformed, differ in length, or hold an unknown symbol.
    """
    names = [split]
    if getattr(cfg, "multi_corpus_keys", None):
        names = [name for _, name in corpora_of(split)]
    for name in names:
        manifest, labels = data / f"{name}.tsv", data / f"{name}.{cfg.labels}"
        binarized = getattr(cfg, "binarized_dataset", False)  # audio and sizes are in other files
        num_lines = None if binarized else _require_manifest(manifest)
        lines = _read(labels, "label file", f"task.labels is {cfg.labels}")
        if num_lines not in (None, len(lines)):
            raise ValueError(
                f"label file {labels} has {len(lines)} lines, expected {num_lines}: one for each "
                f"audio file of {manifest}"
            )
        _require_symbols(labels, lines, dictionary)


def _read(path: Path, kind: str, option: str) -> List[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{kind} {path} does not exist: {option}")
    try:
        with path.open() as file:  # in the encoding of the locale, as fairseq does
            return list(file)
    except UnicodeDecodeError as error:
        raise ValueError(f"{kind} {path}: {error}") from None


def _require_manifest(manifest: Path) -> int:
    """Number of utterances."""
    lines = _read(manifest, "manifest", "see task.data and the names of the subsets")
    if len(lines) < 2:
        raise ValueError(
            f"manifest {manifest} names no audio file: expected a folder, then lines of a path in "
            "it, a tab, and the number of samples"
        )
    root = Path(lines[0].strip())
    missing = []
    for number, line in enumerate(lines[1:], start=2):
        name, tab, samples = line.strip().partition("\t")
        if not (tab and samples.isdecimal()):
            raise ValueError(
                f"manifest {manifest}, line {number}: expected a path, a tab and the number of "
                f"samples, found {line.strip()!r}"
            )
        # Audio may lie in a zip file: PATH:OFFSET:LENGTH.
        if not ((root / name).is_file() or (root / name.partition(":")[0]).is_file()):
            missing.append((number, root / name))
    if missing:
        number, audio = missing[0]
        raise FileNotFoundError(
            f"manifest {manifest}, line {number}: audio file {audio} does not exist, nor do "
            f"{len(missing) - 1} others of {len(lines) - 1}"
        )
    return len(lines) - 1


def _require_symbols(labels: Path, lines: List[str], dictionary: Dictionary) -> None:
    known = set(dictionary.symbols)
    for number, line in enumerate(lines, start=1):
        if not known.issuperset(line.split()):
            symbol = next(symbol for symbol in line.split() if symbol not in known)
            raise ValueError(
                f"label file {labels}, line {number}: the dictionary lacks the symbol {symbol!r}; "
                f"expected one of its {len(known)}, or {dictionary.unk_word}"
            )
