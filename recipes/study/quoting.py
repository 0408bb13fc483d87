"""Paths in command lines: in Hydra's overrides, and in the shell command `prepare`."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from overrides import parse


def hydra_option(option: str, path: Path) -> str:
    """``option=path`` for the command line of Hydra, whatever characters the path has.

    Raises:
        ValueError: Hydra or Snakemake would read another path.
    """
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", re.sub(r"(\\+)$", r"\1\1", str(path)))
    text = f"{option}='{escaped}'"
    require_plain(option, path)
    if parse([text])[0].value() != str(path):
        raise ValueError(f"{option} cannot be {str(path)!r}: use a path without quotation marks")
    return text


def require_plain(what: str, path: Path | str) -> None:
    """Raise ValueError for characters that mean something to Snakemake or to OmegaConf."""
    for character in "{}$\n":
        if character in str(path):
            raise ValueError(f"{what} is {str(path)!r}: expected a path without {character!r}")


def fill(command: str, values: Mapping[str, Path | str]) -> str:
    """Replace ``{name}`` in a shell command by ``values[name]`` as one word of the shell.

    A placeholder may stand between quotation marks, as in ``"{data}/audio"``.
    """
    filled, quote, position = "", "", 0
    while position < len(command):
        named = re.match(r"\{(\w+)\}", command[position:])
        if named and named[1] in values:
            filled += _as_word(str(values[named[1]]), quote)
            position += len(named[0])
            continue
        character = command[position]
        if character == "\\" and quote != "'":
            character = command[position : position + 2]
        elif character in "'\"" and quote in ("", character):
            quote = "" if quote else character
        filled += character
        position += len(character)
    return filled


def _as_word(value: str, quote: str) -> str:
    if quote == '"':
        return re.sub(r'([\\"$`])', r"\\\1", value)
    return value.replace("'", "'\\''") if quote else shlex.quote(value)
