"""The dictionary of the labels: read, with errors that name the line, and compared.

fairseq takes the targets from the dictionary in the data folder, and prints what the network says
by the one in the checkpoint. It never compares the two.
"""

from pathlib import Path
from typing import Optional

from fairseq.data import Dictionary

BOM = "\ufeff"


def load_dictionary(path: Path) -> Dictionary:
    """The dictionary in ``path``.

    Raises:
        FileNotFoundError, ValueError: it is missing or malformed; the message names file and line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"dictionary {path} does not exist: see task.data and task.labels")
    _require_lines(path)
    try:
        dictionary = Dictionary.load(str(path))
    except Exception as error:  # fairseq raises a plain Exception for bytes that are no UTF-8
        raise ValueError(f"dictionary {path}: {error}") from None
    if len(dictionary) == dictionary.nspecial:
        raise ValueError(f"dictionary {path} is empty: expected lines of a symbol and a count")
    return dictionary


def require_same_dictionary(
    path: Path, ours: Dictionary, theirs: Optional[Dictionary], source: str
) -> None:
    """Raise ValueError where a checkpoint was trained with another dictionary.

    Args:
        path: the file of ``ours``, the dictionary of the data folder.
        theirs: the dictionary in the checkpoint; None where it holds none.
        source: what to call the checkpoint in the message.
    """
    if theirs is None or ours.symbols == theirs.symbols:
        return
    sizes = f"{_size(ours)} symbols here, {_size(theirs)} in {source}"
    for index, pair in enumerate(zip(ours.symbols, theirs.symbols)):
        if pair[0] != pair[1]:
            line = index - ours.nspecial + 1
            differs = f"line {line} holds {pair[0]!r}, expected {pair[1]!r}"
            break
    else:
        shorter = min(_size(ours), _size(theirs))
        longer = ours if len(ours) > len(theirs) else theirs
        which = "only here" if longer is ours else f"only in {source}"
        differs = f"symbol {shorter + 1}, {longer.symbols[shorter + longer.nspecial]!r}, is {which}"
    raise ValueError(
        f"dictionary {path} is not the one that {source} was trained with: {differs} ({sizes}); "
        "use the dictionary of its training data, in task.data or task.target_dictionary"
    )


def _size(dictionary: Dictionary) -> int:
    return len(dictionary) - dictionary.nspecial


def _require_lines(path: Path) -> None:
    """Raise ValueError for lines that fairseq would read as something else, or report unclearly."""
    own = set(Dictionary().symbols)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"dictionary {path}: {error}") from None
    if lines and lines[0].startswith(BOM):
        raise ValueError(
            f"dictionary {path}, line 1: it begins with a byte order mark (BOM); expected UTF-8 "
            "without"
        )
    for number, line in enumerate(lines, start=1):
        symbol = line.rstrip().rsplit(" ", 1)[0]
        if symbol in own and not line.rstrip().endswith("#fairseq:overwrite"):
            raise ValueError(
                f"dictionary {path}, line {number}: fairseq adds {symbol!r} to every dictionary by "
                "itself; expected a file without it"
            )
