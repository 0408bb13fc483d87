"""A BERT of transformers made small, and tables in the form of GLUE's, for the tests to prepare."""

import json
import random
from pathlib import Path

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["good", "bad", "dull", "fine", "film", "act", "##ing", "##or", "a", "the", "was", ",", "."]
SIZES = dict(
    num_hidden_layers=2, hidden_size=16, intermediate_size=32, num_attention_heads=2,
    max_position_embeddings=40,
)  # fmt: skip


def write_tokenizer(path: Path, words=WORDS) -> None:
    """tokenizer.json of an uncased BERT, with special pieces after some words, as in BERT's."""
    from tokenizers import BertWordPieceTokenizer

    # [PAD] must not have fairseq's number, and the others come in an order of their own.
    pieces = [SPECIAL[0], *words[:3], *SPECIAL[1:], *words[3:]]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    BertWordPieceTokenizer(vocabulary).save(str(path))


def write_bert(folder: Path, seed: int = 0, **changes) -> Path:
    """A random BERT in the form of a downloaded folder."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(SPECIAL) + len(WORDS), **{**SIZES, **changes})
    model = BertModel(config)
    for name, weight in model.named_parameters():
        # As in a trained one: norms that are no identity, biases that are not zero.
        if "LayerNorm" in name or name.endswith("bias"):
            torch.nn.init.normal_(weight, mean=float(name.endswith("weight")), std=0.3)
    model.save_pretrained(folder)
    write_tokenizer(folder / "tokenizer.json")
    return folder


def sentence(draw: random.Random) -> str:
    return " ".join(draw.choices(["good", "bad", "Film", "acting", "actor", "the", "."], k=6))


def write_tables(folder: Path, train: int = 60, test: int = 12, pairs: bool = False) -> Path:
    """train.tsv and dev.tsv; the class of a sentence is whether it says "good" more than "bad"."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    for name, count in (("train", train), ("dev", test)):
        lines = ["sentence1\tsentence2\tlabel" if pairs else "sentence\tlabel"]
        for _ in range(count):
            texts = [sentence(draw) for _ in range(1 + pairs)]
            label = int(texts[0].count("good") > texts[0].count("bad"))
            lines.append("\t".join([*texts, str(label)]))
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def edit_config(folder: Path, **changes) -> None:
    """Changes config.json of a folder of transformers."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
