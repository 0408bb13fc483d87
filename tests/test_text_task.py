"""The task parp_sentence_prediction: fairseq's RoBERTa, by the stock programs."""

import random
from pathlib import Path

import programs
import pytest
import torch
from fairseq.data import Dictionary, indexed_dataset
from fairseq_runs import finetune, load, make_trainer, training_config
from test_training import run
from torch.nn.utils import prune

from parp_fairseq.pruning import Mask, prunable_parameters
from parp_fairseq.pruning.scope import encoder_name

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = dict(
    encoder_layers=2, encoder_embed_dim=16, encoder_ffn_embed_dim=32, encoder_attention_heads=2,
)  # fmt: skip
# Speech options of `training_config` that this task has not.
WITHOUT = dict.fromkeys(
    ["labels", "w2v_path", "zero_infinity", "apply_mask", "mask_prob", "mask_length", "max_tokens"]
)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """What fairseq-preprocess makes of pairs of sentences and their labels."""
    folder, draw = tmp_path_factory.mktemp("sentences"), random.Random(0)
    words, labels = Dictionary(), Dictionary()
    for word in ["a", "b", "c", "d", "e", "f"]:
        words.add_symbol(word)
    for label in ("yes", "no"):
        labels.add_symbol(label)
    for key, dictionary in (("input0", words), ("input1", words), ("label", labels)):
        (folder / key).mkdir()
        dictionary.save(str(folder / key / "dict.txt"))
        for split, count in (("train", 24), ("valid", 13)):
            prefix = str(folder / key / split)
            data = indexed_dataset.make_builder(prefix + ".bin", "mmap", vocab_size=len(dictionary))
            for _ in range(count):
                symbols = dictionary.symbols[4:]
                text = " ".join(draw.choices(symbols, k=1 if key == "label" else 5))
                data.add_item(dictionary.encode_line(text, add_if_not_exist=False, append_eos=True))
            data.finalize(prefix + ".idx")
    return folder


def config(sentences, folder, **changes):
    options = dict(
        WITHOUT, task="parp_sentence_prediction", arch="parp_roberta",
        criterion="sentence_prediction", num_classes=2, init_token=0, separator_token=2,
        max_positions=32, batch_size=8, max_update=6, prune_interval=2, sparsity=0.6, **TINY,
    )  # fmt: skip
    return training_config(sentences, None, folder, **{**options, **changes})


def test_sparsity_zero_is_the_stock_task(sentences, tmp_path):
    stock = dict(task="sentence_prediction", arch="roberta", sparsity=None, prune_interval=None)
    expected = finetune(config(sentences, tmp_path / "stock", **stock))["model"]
    found = finetune(config(sentences, tmp_path / "zero", sparsity=0))["model"]
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_checkpoints_and_evaluation_are_the_subnetwork(sentences, tmp_path):
    trainer = make_trainer(config(sentences, tmp_path))
    run(trainer, 5)  # one after a re-prune
    model = trainer.get_model()
    whole = {encoder_name(n): p.detach().clone() for n, p in model.named_parameters()}
    covered = list(prunable_parameters(model))
    assert len(covered) == 24 and not any("embed" in n or "head" in n for n in covered)

    reference = torch.nn.ParameterDict({str(i): whole[n].clone() for i, n in enumerate(covered)})
    prune.global_unstructured(
        [(reference, str(i)) for i in range(len(covered))], prune.L1Unstructured, amount=0.6
    )
    expected = {name: getattr(reference, f"{i}_mask") != 0 for i, name in enumerate(covered)}
    model.eval()
    for name, param in model.named_parameters():
        keep = expected.get(encoder_name(name), torch.ones_like(param))
        assert torch.equal(param, whole[encoder_name(name)] * keep), name
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(tmp_path / "now.pt"), {})
    state = load(tmp_path / "now.pt")["model"]
    assert Mask.of_zeros({n: state[n] for n in covered}) == Mask(expected)
    model.train()
    assert all(torch.equal(p, whole[encoder_name(n)]) for n, p in model.named_parameters())


def test_a_resumed_run_ends_in_the_same_bits(sentences, tmp_path):
    whole = finetune(config(sentences, tmp_path / "whole"))
    finetune(config(sentences, tmp_path / "parts", max_update=3))
    resumed = finetune(config(sentences, tmp_path / "parts"))
    assert all(torch.equal(v, whole["model"][n]) for n, v in resumed["model"].items())
    with pytest.raises(ValueError, match=r"task\.sparsity is 0\.5, but the run to be resumed has"):
        finetune(config(sentences, tmp_path / "parts", sparsity=0.5, max_update=8))
    other = tmp_path / "other"
    (other / "input0").mkdir(parents=True)
    for path in sentences.rglob("*.*"):
        target = other / path.relative_to(sentences)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    label = other / "label" / "train.bin"
    label.write_bytes(bytes(reversed(label.read_bytes())))
    with pytest.raises(ValueError, match=r"the training data \(task\.data .* is not that of"):
        finetune(config(other, tmp_path / "parts", max_update=8))


def test_another_model_is_named(sentences, tmp_path):
    cfg = config(sentences, tmp_path, arch="roberta")
    with pytest.raises(ValueError, match=r"trains the model parp_roberta or .*_name=roberta"):
        make_trainer(cfg)


def test_the_stock_program_with_the_recipe(sentences, tmp_path):
    done = programs.run(
        "fairseq_cli.hydra_train",
        "--config-dir", RECIPES, "--config-name", "sentence_prediction", "+method=mpi",
        f"task.data={sentences}", "checkpoint.finetune_from_model=null", "task.sparsity=0.6",
        f"checkpoint.save_dir={tmp_path}", "optimization.max_update=2", "common.cpu=true",
        "dataset.num_workers=0", f"hydra.run.dir={tmp_path}/hydra",
        *(f"+model.{name}={value}" for name, value in TINY.items()),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    state = load(tmp_path / "checkpoint_last.pt")["model"]
    mask = Mask.of_zeros(prunable_parameters(state))
    assert mask.num_pruned == round(0.6 * mask.num_weights)
    assert "scope 'transformer' covers" in done.stdout + done.stderr
