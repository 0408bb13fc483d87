"""Finetune and prune a wav2vec 2.0 of transformers on manifests of this project.

python manifests/mini.py manifests/mini data/mini
parp export manifests/mini/encoder.pt encoder --dictionary data/mini/dict.ltr.txt
python examples/wav2vec2_ctc.py encoder data/mini --output runs/mini
"""

import argparse
from pathlib import Path

import editdistance
import numpy as np
import soundfile
import torch
from transformers import AutoModelForCTC, AutoProcessor, Trainer, TrainingArguments

from parp_fairseq.huggingface import ParpCallback


def read(folder, split, processor):
    """The utterances of a manifest, ``SPLIT.tsv`` and ``SPLIT.ltr``."""
    root, *lines = (folder / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
    letters = (folder / f"{split}.ltr").read_text(encoding="utf-8").splitlines()
    for line, text in zip(lines, letters):
        audio, rate = soundfile.read(Path(root) / line.split("\t")[0], dtype="float32")
        inputs = processor(audio, sampling_rate=rate).input_values[0]
        text = text.replace(" ", "").replace("|", " ").strip()
        yield {"input_values": inputs, "labels": processor(text=text).input_ids}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder that parp export wrote, or a name on the hub")
    parser.add_argument("data", type=Path, help="folder of manifests")
    parser.add_argument("--output", required=True)
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--updates", type=int, default=1600)
    parser.add_argument("--prune-interval", type=int, default=50)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args(arguments)
    processor = AutoProcessor.from_pretrained(args.model)
    model = AutoModelForCTC.from_pretrained(args.model, ctc_loss_reduction="mean")

    def collate(examples):
        audio = [{"input_values": example["input_values"]} for example in examples]
        batch = processor.feature_extractor.pad(audio, return_tensors="pt")
        texts = [torch.tensor(example["labels"]) for example in examples]
        batch["labels"] = torch.nn.utils.rnn.pad_sequence(texts, True, padding_value=-100)
        return batch

    def word_error_rate(evaluated):
        pad = model.config.pad_token_id
        both = (evaluated.predictions, evaluated.label_ids)
        found, truth = (np.where(ids < 0, pad, ids) for ids in both)
        found = processor.batch_decode(found)
        truth = processor.batch_decode(truth, group_tokens=False)
        errors = sum(editdistance.eval(f.split(), t.split()) for f, t in zip(found, truth))
        return {"wer": errors / sum(len(text.split()) for text in truth)}

    trainer = Trainer(
        model,
        TrainingArguments(args.output, max_steps=args.updates, learning_rate=args.lr,
                          per_device_train_batch_size=8, warmup_steps=0.1, report_to="none"),
        train_dataset=list(read(args.data, "train", processor)), data_collator=collate,
        eval_dataset=list(read(args.data, "valid", processor)), compute_metrics=word_error_rate,
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1),
        callbacks=[ParpCallback(args.sparsity, prune_interval=args.prune_interval)],
    )  # fmt: skip
    trainer.train()
    trainer.save_model()
    processor.save_pretrained(args.output)
    print(f"WER {trainer.evaluate()['eval_wer']:.4f} at sparsity {args.sparsity}")


if __name__ == "__main__":
    main()
