"""Language models for the decoders: n-grams of KenLM, and Transformer models of fairseq.

Both are given to flashlight-text as objects of its class ``LM``, which numbers words (or symbols)
as the decoder does. Scores are logarithms: in base 10 for KenLM, as in all programs that use it, in
base e for models of fairseq. A weight of one kind of model is therefore no weight of the other.
"""

import logging
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Set

from .vocabulary import read_vocabulary

logger = logging.getLogger(__name__)

Describe = Callable[[str], str]


class NoLanguageModel:
    """Every word is equally likely."""

    uses_device = False

    def bind(self, words: Sequence[str], describe: Describe, least: float):
        from flashlight.lib.text.decoder import ZeroLM

        return ZeroLM()


class KenLanguageModel:
    """An n-gram model: a binary file of KenLM, or an ARPA file.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
    """

    uses_device = False

    def __init__(self, path: Path):
        if not path.is_file():
            raise FileNotFoundError(f"language model {path} does not exist: see task.kenlm")
        self.path = path

    def bind(self, words: Sequence[str], describe: Describe, least: float):
        """The model, for words that are numbered by their place in ``words``.

        Args:
            words: words or symbols, the unknown word last or not at all.
            describe: where a word comes from, for errors.
            least: share of the words that the model must know.

        Raises:
            ValueError: the file is no model or is cut short, or it is a model of other words.
        """
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary

        dictionary = Dictionary()
        for index, word in enumerate(words):
            dictionary.add_entry(word, index)
        try:
            model = KenLM(str(self.path), dictionary)
        except (RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(_explain(self.path, error)) from None
        known = read_vocabulary(self.path)
        if known is not None:
            require_known(str(self.path), known, words, describe, least)
        return model


def require_known(
    model: str, known: Set[str], words: Sequence[str], describe: Describe, least: float
) -> None:
    """Raise ValueError where a model knows fewer than ``least`` of ``words``; else log the number.

    The number of words is compared, because a vocabulary of letters or in another case still has
    some words in common with any lexicon.
    """
    wanted = [word for word in words if not _is_special(word)]
    lacking = [word for word in wanted if word not in known]
    if not lacking:
        return
    found = (
        f"the language model {model} knows {len(wanted) - len(lacking)} of {len(wanted)} words"
        f" or symbols; the first that it lacks is {describe(lacking[0])}"
    )
    if len(wanted) - len(lacking) < least * len(wanted):
        examples = " ".join(sorted(known - {"<s>", "</s>", "<unk>"})[:5])
        raise ValueError(
            f"{found}: expected a model of the same words, in the same case; it knows {examples}"
        )
    logger.warning(f"{found}. Words that it lacks are scored as unknown words")


def _is_special(word: str) -> bool:
    return word.startswith("<") and word.endswith(">")


def _explain(path: Path, error: Exception) -> str:
    """The last line of KenLM's message, with the line of an ARPA file where it tells a byte."""
    if isinstance(error, UnicodeDecodeError):  # of the message, which quotes the file
        return f"language model {path} is not a model of KenLM and not an ARPA file"
    reason = str(error).splitlines()[-1]
    reason, _, byte = reason.partition(" Byte: ")
    where = ""
    if byte.isdecimal():
        with path.open("rb") as file:
            where = f", line {file.read(int(byte)).count(bytes([10])) + 1}"
    return (
        f"language model {path}{where}: expected a whole binary file of KenLM or an ARPA file, "
        f"found: {reason}"
    )


class FairseqLanguageModel:
    """A language model of fairseq, such as a Transformer over words.

    Args:
        model: the model that ``fairseq-generate --lm-path`` has loaded.
        name: its file, for errors.
    """

    def __init__(self, model, name: str):
        self.model = model
        self.name = name

    @property
    def uses_device(self) -> bool:
        return next(self.model.parameters()).is_cuda

    def bind(self, words: Sequence[str], describe: Describe, least: float):
        """As :meth:`KenLanguageModel.bind`."""
        from .fairseq_lm import FairseqLm

        dictionary = self.model.decoder.dictionary
        known = set(dictionary.symbols)
        require_known(f"{self.name} (with the dictionary dict.txt)", known, words, describe, least)
        indices: List[int] = [dictionary.index(word) for word in words]
        return FairseqLm(self.model, indices, dictionary.eos())


def named(kenlm: Optional[str], fairseq_model, fairseq_path: Optional[str]):
    """The language model that the options name.

    Raises:
        ValueError: they name two.
    """
    if kenlm and fairseq_model is not None:
        raise ValueError(
            f"task.kenlm is {kenlm} and generation.lm_path is {fairseq_path}: expected one "
            "language model"
        )
    if kenlm:
        return KenLanguageModel(Path(kenlm))
    if fairseq_model is not None:
        return FairseqLanguageModel(fairseq_model, str(fairseq_path))
    return NoLanguageModel()
