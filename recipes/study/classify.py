"""Classes of the sentences of a split, in the form that fairseq-generate writes transcripts in.

    python classify.py DATA --path CHECKPOINT --gen-subset SPLIT

fairseq-generate runs sequence models only. `parp report` reads both: lines T- with the class of a
sentence, lines H- and D- with the class that the model gives it and its log-probability, and the
error rate on the last line: the share of the sentences with a wrong class, in percent.
"""

import argparse
from collections.abc import Iterator

import torch
from fairseq import checkpoint_utils, utils

import parp_fairseq  # noqa: F401  (registers the task and the model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", metavar="DATA", help="folder with input0/ and label/")
    parser.add_argument("--path", required=True, metavar="CHECKPOINT")
    parser.add_argument("--gen-subset", default="test", metavar="SPLIT", help="default: test")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="default: 32")
    args = parser.parse_args()
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [args.path], arg_overrides={"data": args.data}
    )
    model.eval()
    wrong = count = 0
    with torch.no_grad():
        for number, expected, found, score in classify(model, task, args.gen_subset, args):
            print(f"T-{number}\t{expected}\nH-{number}\t{score:.4f}\t{found}")
            print(f"D-{number}\t{score:.4f}\t{found}")
            wrong += expected != found
            count += 1
    print(f"Generate {args.gen_subset} with {count} sentences: error rate: {100 * wrong / count}")


def classify(model, task, split: str, args) -> Iterator[tuple[int, str, str, float]]:
    """Number of each sentence in the split, its class, the one that is found, and its score."""
    dataset = task.load_dataset(split)
    by_length = sorted(range(len(dataset)), key=dataset.size)  # fewer padded positions
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    names = task.label_dictionary.symbols[task.label_dictionary.nspecial :]
    for start in range(0, len(by_length), args.batch_size):
        chosen = by_length[start : start + args.batch_size]
        batch = dataset.collater([dataset[index] for index in chosen])
        batch = utils.move_to_cuda(batch) if device.type == "cuda" else batch
        logits, _ = model(
            **batch["net_input"],
            features_only=True,
            classification_head_name=task.cfg.classification_head_name,
        )
        scores, found = logits.float().log_softmax(-1).max(-1)
        expected = batch["target"].view(-1)
        columns = (batch["id"], expected, found, scores)
        for number, *classes, score in zip(*(column.tolist() for column in columns)):
            yield number, *(names[one] for one in classes), score


if __name__ == "__main__":
    main()
