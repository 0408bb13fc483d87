"""Writes what fairseq-preprocess makes of sentences: {split}.bin, {split}.idx, dict.txt."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import make_builder
from manifest.writing import replacing, write_lines


class Binarized:
    """A folder such as input0/ or label/, with a dictionary.

    Args:
        folder: made if it does not exist.
        lines: of dict.txt: "symbol count".
    """

    def __init__(self, folder: Path, lines: Iterable[str]) -> None:
        self.folder = folder
        write_lines(folder / "dict.txt", lines)
        self.dictionary = Dictionary.load(str(folder / "dict.txt"))

    def write(self, split: str, sentences: Iterable[Sequence[str]]) -> None:
        """Writes the symbols of each sentence, and fairseq's end of sentence after them."""
        binary, index = (self.folder / f"{split}.{ending}" for ending in ("bin", "idx"))
        # The index last: with it, the split is whole.
        index.unlink(missing_ok=True)
        with replacing(index) as new_index, replacing(binary) as new_binary:
            builder = make_builder(str(new_binary), "mmap", vocab_size=len(self.dictionary))
            for symbols in sentences:
                line = " ".join(symbols)
                builder.add_item(self.dictionary.encode_line(line, add_if_not_exist=False).long())
            builder.finalize(str(new_index))
