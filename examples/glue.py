"""Finetune and prune a text classifier of transformers on a task of GLUE's form.

    python examples/glue.py bert-base-uncased SST-2/train.tsv SST-2/dev.tsv --output runs/sst2

The files are tables with a header, separated by tabs or, if they end in .csv, by commas. MODEL is a
name on the Hugging Face hub or a folder, of an architecture in docs/trainer.md.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from parp_fairseq.huggingface import ParpCallback


def read(path, columns, tokenizer, classes=None):
    """Examples of a table, and its classes."""
    commas = path.suffix == ".csv"
    with path.open(newline="", encoding="utf-8") as file:
        quoting = csv.QUOTE_MINIMAL if commas else csv.QUOTE_NONE
        rows = list(csv.DictReader(file, delimiter="," if commas else "\t", quoting=quoting))
    *texts, label = columns
    classes = classes or sorted({row[label] for row in rows})
    encoded = tokenizer(*([row[text] for row in rows] for text in texts), truncation=True)
    examples = [dict(zip(encoded, values)) for values in zip(*encoded.values())]
    for example, row in zip(examples, rows):
        example["labels"] = classes.index(row[label])
    return examples, classes


def accuracy(predictions):
    return {"accuracy": float(np.mean(predictions.predictions.argmax(-1) == predictions.label_ids))}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    parser.add_argument("--columns", nargs="+", default=["sentence", "label"])
    parser.add_argument("--output", required=True)
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--prune-interval", type=int, default=50)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)

    tokenizer = AutoTokenizer.from_pretrained(args.model, model_max_length=128)
    train, classes = read(args.train, args.columns, tokenizer)
    valid, _ = read(args.valid, args.columns, tokenizer, classes)
    model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=len(classes))
    trainer = Trainer(
        model,
        TrainingArguments(args.output, max_steps=args.updates, learning_rate=args.lr,
                          per_device_train_batch_size=32, eval_strategy="epoch", seed=args.seed,
                          report_to="none"),
        train_dataset=train, eval_dataset=valid, compute_metrics=accuracy,
        data_collator=DataCollatorWithPadding(tokenizer), processing_class=tokenizer,
        callbacks=[ParpCallback(args.sparsity, prune_interval=args.prune_interval)],
    )  # fmt: skip
    trainer.train()
    trainer.save_model()
    print(f"accuracy {trainer.evaluate()['eval_accuracy']:.4f} at sparsity {args.sparsity}")


if __name__ == "__main__":
    main()
