"""A WordPiece vocabulary as fairseq's dictionary: the same pieces in another order."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from manifest.lines import read_lines
from manifest.writing import replacing, write_lines

# fairseq's own symbols, in the order of its dictionary, and the pieces of BERT that they stand for.
FIRST = {"<s>": "[CLS]", "<pad>": "[PAD]", "</s>": "[SEP]", "<unk>": "[UNK]"}
LAST = {"<mask>": "[MASK]"}  # added by the task, after what dict.txt has
DICTIONARY, TOKENIZER = "dict.txt", "tokenizer.json"


@dataclass(frozen=True)
class Vocabulary:
    """The pieces of a tokenizer.

    Attributes:
        text: content of tokenizer.json.
        ids: piece -> its number in BERT.
    """

    text: str
    ids: dict[str, int]

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """Reads tokenizer.json.

        Raises:
            ValueError: the file is missing, or its pieces are not those of a BERT.
        """
        text = "\n".join(read_lines(path))
        ids = _load(path, text).get_vocab()
        missing = [piece for piece in (*FIRST.values(), *LAST.values()) if piece not in ids]
        if missing:
            raise ValueError(f"{path}: found no piece {missing[0]}, expected those of a BERT")
        for piece in sorted(ids, key=ids.__getitem__):
            if piece in FIRST or piece in LAST or piece.split() != [piece]:
                raise ValueError(
                    f"{path}: piece {piece!r}, expected pieces without white space and other than"
                    f" fairseq's {', '.join((*FIRST, *LAST))}"
                )
        return cls(text, ids)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def pieces(self) -> list[str]:
        """The pieces that dict.txt lists: all but those that fairseq's own symbols stand for."""
        own = {*FIRST.values(), *LAST.values()}
        return [piece for piece in sorted(self.ids, key=self.ids.__getitem__) if piece not in own]

    @property
    def rows(self) -> list[int]:
        """Number in fairseq's dictionary -> number in BERT."""
        ordered = [*FIRST.values(), *self.pieces, *LAST.values()]
        return [self.ids[piece] for piece in ordered]

    def write(self, folder: Path) -> None:
        """Writes dict.txt and tokenizer.json."""
        write_lines(folder / DICTIONARY, [f"{piece} 1" for piece in self.pieces])
        with replacing(folder / TOKENIZER) as temporary:
            temporary.write_text(self.text, encoding="utf-8")


class Pieces:
    """Splits sentences into pieces, with what :meth:`Vocabulary.write` wrote to a folder.

    Raises:
        ValueError: the folder lacks a file, or tokenizers cannot read one.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / TOKENIZER
        self.dictionary = list(read_lines(folder / DICTIONARY))
        self._tokenizer = _load(path, "\n".join(read_lines(path)))
        # Sentences are cut and padded by fairseq.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._symbols = {piece: symbol for symbol, piece in {**FIRST, **LAST}.items()}

    def split(self, sentences: list[str]) -> list[list[str]]:
        """The symbols of each sentence, in fairseq's dictionary, without [CLS] and [SEP]."""
        encoded = self._tokenizer.encode_batch(sentences, add_special_tokens=False)
        return [[self._symbols.get(piece, piece) for piece in one.tokens] for one in encoded]


def _load(path: Path, text: str):
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        raise ValueError(
            "tokenizers is not installed, expected it: pip install 'parp_fairseq[data]'"
        ) from None
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises nothing more special
        raise ValueError(f"{path}: tokenizers cannot read it: {error}") from None
