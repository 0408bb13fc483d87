"""One run in fairseq and under the Trainer: the same masks, by the same names."""

from importlib.util import find_spec

import pytest
import soundfile
import torch
from fairseq_runs import make_trainer, training_config, write_corpus
from test_training import updates

if find_spec("transformers") is None or find_spec("accelerate") is None:
    pytest.skip("the [hf] extra is not installed", allow_module_level=True)

from trainer_runs import arguments
from transformers import AutoModelForCTC, AutoProcessor, Trainer, TrainerCallback

from parp_fairseq.cli import main
from parp_fairseq.huggingface import ParpCallback

SPARSITY, INTERVAL, UPDATES, LR, EPS = 0.5, 5, 25, 1e-3, 1e-12
UTTERANCES = 16  # one batch, so that its order decides nothing but the order of sums
CERTAIN = dict.fromkeys(
    ["dropout", "activation_dropout", "attention_dropout", "dropout_input", "final_dropout",
     "layerdrop"], 0.0,
)  # fmt: skip


def test_fairseq_and_the_trainer_find_the_same_masks(encoder, tmp_path):
    """Where the rest comes from: the two libraries add in another order. Nothing else differs, so
    the masks are equal but for weights whose magnitudes are next to one another at the threshold.
    Biases are not pruned: the gradients of those of the keys are zero but for rounding, and Adam
    makes whole steps of them. fairseq divides gradients by the number of symbols and the Trainer
    does not; Adam would see the difference in its epsilon alone, which is small here and scaled by
    that number.
    """
    data = write_corpus(tmp_path / "data", "train", UTTERANCES)
    cfg = training_config(
        data, encoder, tmp_path / "fairseq", apply_mask=None, max_tokens=1000000, lr=f"[{LR}]",
        max_update=UPDATES, prune_interval=INTERVAL, sparsity=SPARSITY, prune_bias="false",
        adam_eps=EPS, zero_infinity=True, **CERTAIN,
    )  # fmt: skip
    theirs = make_trainer(cfg)
    start, folder = tmp_path / "start.pt", tmp_path / "start"
    theirs.consolidate_optimizer()
    theirs.save_checkpoint(str(start), {})
    assert main(["export", str(start), str(folder)]) == 0
    expected = []
    for update, _ in enumerate(updates(theirs, UPDATES), start=1):
        if update % INTERVAL == 0:
            expected.append(theirs.task.pruner.mask)

    processor = AutoProcessor.from_pretrained(folder)
    lines = (data / "train.tsv").read_text().splitlines()[1:]
    symbols = theirs.task.target_dictionary
    examples = [
        {"audio": soundfile.read(data / line.split("\t")[0], dtype="float32")[0],
         "labels": [symbols.index(letter) for letter in letters.split()]}
        for line, letters in zip(lines, (data / "train.ltr").read_text().splitlines())
    ]  # fmt: skip

    def collate(examples):
        audio = [{"input_values": example["audio"]} for example in examples]
        batch = processor.feature_extractor.pad(audio, return_tensors="pt")
        texts = [torch.tensor(example["labels"]) for example in examples]
        batch["labels"] = torch.nn.utils.rnn.pad_sequence(texts, True, padding_value=-100)
        return batch

    found = []

    class Look(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step % INTERVAL == 0:
                found.append(callback.mask)

    callback = ParpCallback(SPARSITY, prune_interval=INTERVAL, prune_bias=False)
    model = AutoModelForCTC.from_pretrained(folder, ctc_loss_reduction="sum")
    model.freeze_feature_encoder()
    # This encoder has no projection, and the exported one is the identity.
    model.wav2vec2.feature_projection.projection.requires_grad_(False)
    ours = Trainer(
        model,
        arguments(
            tmp_path / "trainer", max_steps=UPDATES, learning_rate=LR, max_grad_norm=0,
            per_device_train_batch_size=UTTERANCES, optim="adamw_torch",
            remove_unused_columns=False,
            adam_epsilon=EPS * sum(len(example["labels"]) for example in examples),
        ),
        train_dataset=examples,
        data_collator=collate,
        callbacks=[callback, Look()],
    )  # fmt: skip
    ours.train()
    assert len(found) == len(expected) == 5
    for mask, other in zip(found, expected):
        assert mask.iou(other) >= 0.999
    # They have moved, and both to the same place.
    assert callback.pruner.mask_iou < 0.9
    assert abs(callback.pruner.mask_iou - theirs.task.pruner.mask_iou) < 0.001
