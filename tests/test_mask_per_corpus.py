"""task.mask_per_corpus: corpora trained in turn over shared weights, each inside its own mask."""

from collections import Counter
from itertools import chain
from math import sqrt

import numpy as np
import pytest
import torch
from fairseq.data.iterators import EpochBatchIterator, GroupedIterator
from fairseq.tasks.audio_finetuning import AudioFinetuningConfig
from fairseq_runs import (
    PRECISIONS,
    finetune,
    load,
    make_trainer,
    training_config,
    transcribe,
    write_corpus,
)
from test_bad_input import assert_refused
from test_checkpoints import assert_same
from test_training import STOCK

from parp_fairseq.cli import main as parp
from parp_fairseq.pruning import Mask, prunable_parameters
from parp_fairseq.pruning.pack import Pack
from parp_fairseq.pruning.pathways import Switch
from parp_fairseq.pruning.shared_subnetwork import SharedSubnetwork
from parp_fairseq.pruning.subnetwork import Subnetwork
from parp_fairseq.tasks.corpora import mask_files_of
from parp_fairseq.tasks.mask_per_corpus import evaluated_corpora
from parp_fairseq.tasks.master_weights import master_weights
from parp_fairseq.tasks.measurements import optimizer_states

DRAWS_BY_WEIGHT = "multi_corpus_keys" in AudioFinetuningConfig.__dataclass_fields__
CORPORA = ("es", "fr")
SUBSET = "es:train_es,fr:train_fr"
SIZES = {"train": (8, 5), "valid": (3, 2)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two corpora as manifests/joint.py writes them: train_es, train_fr, train, valid_es, ..."""
    folder = tmp_path_factory.mktemp("two")
    for split, sizes in SIZES.items():
        names = [f"{split}_{corpus}" for corpus in CORPORA]
        for seed, (name, size) in enumerate(zip(names, sizes)):
            write_corpus(folder, name, size, seed=seed + 10 * len(split))
        for suffix, first in (("tsv", 1), ("ltr", 0)):
            parts = [(folder / f"{name}.{suffix}").read_text().splitlines() for name in names]
            lines = parts[0] + [line for part in parts[1:] for line in part[first:]]
            (folder / f"{split}.{suffix}").write_text("\n".join(lines) + "\n")
    return folder


def config(data, encoder, save_dir, **changes):
    options = dict(
        mask_per_corpus=True, train_subset=SUBSET, apply_mask=None, required_batch_size_multiple=1
    )
    return training_config(data, encoder, save_dir, **{**options, **changes})


def batches(trainer, updates, update_freq=1):
    """That many updates of batches, as fairseq-train takes them."""
    epoch = 1
    while True:
        epochs = trainer.get_train_iterator(epoch)
        trainer.begin_epoch(epoch)
        for samples in GroupedIterator(epochs.next_epoch_itr(shuffle=True), update_freq):
            yield samples
            updates -= 1
            if updates == 0:
                return
        epoch += 1


def whole_weights(trainer):
    """Copies of the weights in the scope, and of what the optimizer keeps of them."""
    params = trainer.task.pruner.params
    masters = master_weights(trainer.optimizer, params) or {}
    states = optimizer_states(trainer.optimizer, params)
    kept = {(name, "weight"): param for name, param in params.items()}
    kept.update({(name, "master"): master for name, master in masters.items()})
    for name, state in states.items():
        for key, value in state.items():
            if torch.is_tensor(value) and value.shape == params[name].shape:
                kept[name, key] = value
    return {key: value.detach().clone() for key, value in kept.items()}


def two_masks(encoder, folder):
    """Two masks that keep half each and share the first tensor alone, and the option for them."""
    params = prunable_parameters(load(encoder)["model"])
    shared = next(iter(params))
    generator = torch.Generator().manual_seed(3)
    first = {name: torch.rand(p.shape, generator=generator) < 0.5 for name, p in params.items()}
    masks = {
        "es": Mask(first),
        "fr": Mask({name: kept if name == shared else ~kept for name, kept in first.items()}),
    }
    half = sum(kept.numel() for kept in first.values()) // 2
    for corpus, mask in masks.items():
        masks[corpus] = trimmed(mask, half, "encoder.layers.1.fc2.weight")
        masks[corpus].save(folder / f"{corpus}.safetensors")
    return masks, ",".join(f"{corpus}:{folder}/{corpus}.safetensors" for corpus in CORPORA)


def trimmed(mask, kept, name):
    """The mask with flags of one tensor changed, so that it keeps ``kept`` weights in all."""
    flags = {key: mask[key].clone() for key in mask}
    surplus = mask.num_weights - mask.num_pruned - kept
    places = (flags[name].flatten() == (surplus > 0)).nonzero().flatten()[: abs(surplus)]
    flags[name].view(-1)[places] = surplus < 0
    return Mask(flags)


# Optimizers and precisions that keep different things of a weight.
WAYS = {
    "adam": dict(weight_decay=0.1),
    "nag": dict(optimizer="nag", momentum=0.9, weight_decay=0.1),
    "masters": dict(precision=PRECISIONS[1]),
    "bf16": dict(precision=PRECISIONS[2]),
    "amp": dict(precision=PRECISIONS[3]),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_update_of_one_corpus_changes_nothing_outside_its_mask(data, encoder, tmp_path, way):
    masks, files = two_masks(encoder, tmp_path)
    cfg = config(
        data, encoder, tmp_path, mask_file=files, adjust="false", sparsity=0.5, lr="[0.01]",
        **WAYS[way],
    )  # fmt: skip
    trainer = make_trainer(cfg)
    seen = Counter()
    for samples in batches(trainer, 8):
        before = whole_weights(trainer) if seen else None
        corpus = samples[0]["corpus"]
        trainer.train_step(samples)
        assert trainer.task.pruner.pruners[corpus].mask == masks[corpus]
        after = whole_weights(trainer)
        if before is not None:
            for (name, kind), value in after.items():
                outside = ~masks[corpus][name]
                former = before[name, kind]
                assert torch.equal(value[outside], former[outside]), (corpus, name, kind)
                if name.endswith("fc1.weight"):
                    assert not torch.equal(value[~outside], former[~outside]), (name, kind)
        seen[corpus] += 1
    assert all(seen[corpus] >= 2 for corpus in CORPORA)


def magnitude_kept(weights, sparsity):
    """The mask of global magnitude pruning, by torch's own sort: first among equals goes first."""
    flat = torch.cat([weight.abs().flatten() for weight in weights.values()])
    lowest = flat.argsort(stable=True)[: round(sparsity * len(flat))]
    kept = torch.ones(len(flat), dtype=torch.bool)
    kept[lowest] = False
    parts = kept.split([weight.numel() for weight in weights.values()])
    return {n: part.view_as(w) for (n, w), part in zip(weights.items(), parts)}


def test_masks_and_weights_are_those_of_a_plain_loop(data, encoder, tmp_path):
    """Twenty updates; each corpus re-prunes after every three of its own."""
    cfg = config(data, encoder, tmp_path / "ours", prune_interval=3, sparsity=0.4, max_update=0)
    trainer = make_trainer(cfg)
    plain = dict(STOCK, train_subset="train", apply_mask=None)
    stock = make_trainer(training_config(data, encoder, tmp_path / "plain", **plain))
    model, criterion = stock.get_model(), stock.get_criterion()
    model.train()
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    pruned = prunable_parameters(model)
    long_names = {id(param): name for name, param in pruned.items()}
    kept = dict.fromkeys(CORPORA, magnitude_kept(pruned, 0.4))
    moments = {name: [torch.zeros_like(p), torch.zeros_like(p)] for name, p in weights.items()}
    done, changed = Counter(), Counter()
    for step, samples in enumerate(batches(trainer, 20), start=1):
        corpus = samples[0]["corpus"]
        trainer.train_step(samples)
        whole = {name: p.detach().clone() for name, p in pruned.items()}
        with torch.no_grad():
            for name, param in pruned.items():
                param.mul_(kept[corpus][name])
        model.zero_grad()
        torch.manual_seed(cfg.common.seed + step - 1)  # as fairseq's trainer does, for dropout
        loss, size, _ = criterion(model, samples[0])
        loss.backward()
        with torch.no_grad():
            for name, param in pruned.items():
                param.copy_(whole[name])
            for name, param in weights.items():
                if param.grad is None:
                    continue
                inside = kept[corpus].get(long_names.get(id(param)), torch.ones_like(param) > 0)
                gradient = param.grad * inside * (1 / size)
                first, second = (moment.clone() for moment in moments[name])
                first.mul_(0.9).add_(gradient, alpha=1 - 0.9)
                second.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
                size_of_step = 0.003 * sqrt(1 - 0.999**step) / (1 - 0.9**step)
                moved = param.clone().addcdiv_(first, second.sqrt().add_(1e-8), value=-size_of_step)
                for target, new in ((param, moved), *zip(moments[name], (first, second))):
                    target.copy_(torch.where(inside, new, target))
        done[corpus] += 1
        if done[corpus] % 3 == 0:
            former, kept = kept, {**kept, corpus: magnitude_kept(pruned, 0.4)}
            changed[corpus] += any(
                not torch.equal(former[corpus][name], kept[corpus][name]) for name in pruned
            )
        for name, mask in ((name, one.mask) for name, one in trainer.task.pruner.pruners.items()):
            assert mask == Mask(kept[name]), (step, name)
    ours = dict(trainer.get_model().named_parameters())
    for name, param in weights.items():
        assert torch.equal(ours[name], param), name
    assert min(done.values()) >= 5 and all(changed[corpus] for corpus in CORPORA)


@pytest.fixture(scope="module")
def trained(data, encoder, tmp_path_factory):
    """A run of ten updates by gradients and validated, whose masks differ, with all checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    finetune(run_config(data, encoder, folder, max_update=10, save_interval_updates=4))
    return folder


def run_config(data, encoder, folder, **changes):
    options = dict(
        prune_criterion="taylor",
        prune_pattern="layerwise",
        prune_interval=2,
        apply_mask=True,
        layerdrop=0.2,
        disable_validation=False,
        lr="[0.01]",
    )
    return config(data, encoder, folder, **{**options, **changes})


def test_a_run_that_was_stopped_ends_in_the_same_bits(data, encoder, trained, tmp_path):
    whole = load(trained / "checkpoint_last.pt")
    for stop in (4, 10):  # the first mask of a corpus, and the next epoch, lie behind 4
        again = finetune(
            run_config(data, encoder, tmp_path, max_update=stop, save_interval_updates=4)
        )
    assert_same(again["model"], whole["model"], "model")
    assert_same(again["model"]._metadata, whole["model"]._metadata, "metadata")
    assert_same(again["last_optimizer_state"], whole["last_optimizer_state"], "optimizer")


def test_a_run_of_other_corpora_is_not_resumed(data, encoder, trained):
    other = run_config(
        data, encoder, trained, max_update=12, train_subset="fr:train_fr,es:train_es"
    )
    with pytest.raises(ValueError, match="the run to be resumed"):
        finetune(other)


@pytest.mark.parametrize("name", ["checkpoint_1_4.pt", "checkpoint_best.pt", "checkpoint_last.pt"])
def test_a_checkpoint_holds_the_subnetwork_of_each_corpus(trained, tmp_path, name):
    [path] = trained.glob(name.replace("_1_", "_*_"))
    held = load(path)["model"]
    weights = prunable_parameters(held)
    subnetworks = {}
    for corpus in CORPORA:
        packed, unpacked = tmp_path / f"{corpus}.safetensors", tmp_path / f"{corpus}.pt"
        parp(["pack", str(path), "--corpus", corpus, "--base", str(path), "-o", str(packed)])
        parp(["unpack", str(packed), "--base", str(path), "-o", str(unpacked)])
        parp(["mask", str(path), "--corpus", corpus, "-o", str(tmp_path / "mask.safetensors")])
        mask = Mask.load(tmp_path / "mask.safetensors")
        assert mask.num_pruned == round(0.5 * mask.num_weights)
        ours = load(unpacked)["model"]
        assert list(ours) == list(held)
        subnetworks[corpus] = prunable_parameters(ours)
        for key, weight in subnetworks[corpus].items():
            assert torch.equal(weight, weights[key] * mask[key]), key
        others = ours.keys() - {k for k in ours if any(k.endswith(n) for n in weights)}
        assert all(torch.equal(ours[key], held[key]) for key in others)
        assert {one.way for one in Pack.load(packed).weights.values()} == {"same", "bits"}
    es, fr = subnetworks.values()
    assert any(not torch.equal(es[key] != 0, fr[key] != 0) for key in es)
    for key, weight in weights.items():
        assert torch.equal(weight != 0, (es[key] != 0) | (fr[key] != 0)), key


def test_each_subnetwork_is_scored_by_stock_programs(data, trained, tmp_path):
    """By its key, by task.corpus, in a joint manifest, and as what was unpacked."""
    path = trained / "checkpoint_last.pt"

    def score(checkpoint, subset, **options):
        out = transcribe(data, checkpoint, tmp_path / "out", gen_subset=subset, **options)
        return [line.split("\t", 1)[1] for line in sorted(out) if line.startswith("H-")]

    scored = {}
    for corpus in CORPORA:
        packed, unpacked = tmp_path / f"{corpus}.safetensors", tmp_path / f"{corpus}.pt"
        parp(["pack", str(path), "--corpus", corpus, "-o", str(packed)])
        parp(["unpack", str(packed), "-o", str(unpacked)])
        scored[corpus] = score(unpacked, f"valid_{corpus}")
    assert score(path, "es:valid_es") == scored["es"]
    assert score(path, "valid_fr", corpus="fr") == scored["fr"]
    assert score(path, "valid") == scored["es"] + scored["fr"]
    assert score(path, "valid_es", corpus="fr") != scored["es"]
    with pytest.raises(ValueError, match="the checkpoint has one subnetwork for"):
        score(tmp_path / "es.pt", "valid_es", corpus="es")


def test_the_corpus_of_what_is_scored(data, tmp_path):
    def corpora(split, corpus=None):
        return evaluated_corpora(split, CORPORA, corpus, data)

    assert corpora("es:valid_fr") == ("valid_fr", "es")
    assert corpora("valid_fr", "es") == ("valid_fr", "es")
    assert corpora("valid") == ("valid", ["es"] * 3 + ["fr"] * 2)
    for split, corpus, message in (
        ("valid_es", None, r"line 2: it is not known whose subnetwork .* expected it in one of"),
        ("xx:valid_es", None, "names the corpus 'xx': expected one of es, fr"),
        ("valid_es", "xx", r"task\.corpus=xx names the corpus 'xx'"),
        ("es:valid_es,fr:valid_fr", None, "is 2 corpora: expected one, as es:valid_es"),
        ("nothing", None, r"nothing\.tsv does not exist"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            corpora(split, corpus)


def test_a_checkpoint_without_its_masks_is_not_scored(data, trained, tmp_path):
    state = load(trained / "checkpoint_last.pt")
    state["model"] = dict(state["model"])
    torch.save(state, tmp_path / "averaged.pt")
    with pytest.raises(ValueError, match="holds no masks: a tool dropped the metadata"):
        transcribe(data, tmp_path / "averaged.pt", tmp_path / "out", gen_subset="valid_es")


def test_commands_for_one_subnetwork_say_so(trained, tmp_path, capsys):
    path = trained / "checkpoint_last.pt"
    for command in (["shrink", str(path), "-o", str(tmp_path / "s.pt")], ["transcribe", str(path)]):
        arguments = [*command, str(path)] if command[0] == "transcribe" else command
        with pytest.raises(SystemExit):
            parp(arguments)
        assert "has a subnetwork for each of es, fr" in capsys.readouterr().err
    wrong = ["pack", str(path), "--corpus", "xx", "-o", str(tmp_path / "p.safetensors")]
    with pytest.raises(SystemExit):
        parp(wrong)
    assert "has masks of es, fr: expected one of these" in capsys.readouterr().err
    parp(["info", str(path)])
    shown = capsys.readouterr().out
    assert "mask of es" in shown and "warning: this checkpoint was trained" not in shown


def test_validation_scores_each_corpus_by_its_subnetwork(data, encoder, trained, tmp_path):
    """What a run logs for its last update is what the packs score."""
    cfg = run_config(data, encoder, tmp_path, max_update=10)
    trainer = make_trainer(cfg)
    for samples in batches(trainer, 3):
        trainer.train_step(samples)
    task, model = trainer.task, trainer.get_model()
    shown = {name: one.subnetwork_mask() for name, one in task.pruner.pruners.items()}
    whole = {name: p.detach().clone() for name, p in task.pruner.params.items()}
    task.load_dataset("valid")
    seen = set()
    for sample in task.get_batch_iterator(task.dataset("valid"), max_tokens=20000).next_epoch_itr():
        task.valid_step(sample, model, trainer.get_criterion())
        corpus = sample["corpus"]
        seen.add(corpus)
        for name, param in task.pruner.params.items():
            assert torch.equal(param, whole[name] * shown[corpus][name]), (corpus, name)
        union = model.state_dict()  # a checkpoint may be written now
        for name, weight in prunable_parameters(union).items():
            either = shown["es"][name] | shown["fr"][name]
            assert torch.equal(weight, whole[name] * either), name
    assert seen == set(CORPORA)
    model.train()
    assert all(torch.equal(param, whole[name]) for name, param in task.pruner.params.items())


@pytest.mark.parametrize("frequency, ranks", [(1, 1), (2, 1), (2, 2)])
def test_an_update_is_of_one_corpus(data, encoder, tmp_path, frequency, ranks):
    trainer = make_trainer(config(data, encoder, tmp_path, update_freq=f"[{frequency}]"))
    trainer.get_train_iterator(1)
    dataset = trainer.task.dataset(SUBSET)
    dataset.per_update = lambda epoch: frequency * ranks
    orders = []
    for epoch in range(1, 5):
        dataset.set_epoch(epoch)
        every, updates = Counter(), []
        for rank in range(ranks):
            np.random.seed(epoch)  # as fairseq does
            made = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=20000)
            iterator = EpochBatchIterator(
                dataset, dataset.collater, made, num_shards=ranks, shard_id=rank, epoch=epoch
            )
            grouped = GroupedIterator(iterator.next_epoch_itr(shuffle=False), frequency)
            updates.append([[sample["corpus"] for sample in group] for group in grouped])
            every.update(index for batch in iterator.frozen_batches for index in batch)
        assert all(len(set(chain(*of_update))) == 1 for of_update in zip(*updates))
        assert set(every.values()) == {ranks} and len(every) == sum(SIZES["train"])
        orders.append([list(map(int, batch)) for batch in made])
    assert any(order != orders[0] for order in orders)


def test_micro_batches_of_an_update_train_one_mask(data, encoder, tmp_path):
    cfg = config(data, encoder, tmp_path, update_freq="[2]", max_update=3, prune_interval=1)
    finetune(cfg)


def test_a_corpus_too_small_for_an_update_is_refused(data, encoder, tmp_path):
    cfg = config(data, encoder, tmp_path, update_freq="[6]")
    message = "the corpus fr has 5 utterances in an epoch, and an update takes 6 batches"
    assert_refused(message, tmp_path, cfg)


@pytest.mark.skipif(not DRAWS_BY_WEIGHT, reason="fairseq 0.12.2 cannot draw by weight")
def test_corpora_drawn_by_weight(data, encoder, tmp_path):
    cfg = config(
        data, encoder, tmp_path, multi_corpus_keys="es,fr",
        multi_corpus_sampling_weights="0.25,0.75",
    )  # fmt: skip
    trainer = make_trainer(cfg)
    epochs = trainer.get_train_iterator(1)
    drawn = Counter()
    for sample in epochs.next_epoch_itr():
        drawn[sample["corpus"]] += len(sample["id"])
    assert drawn == {"es": 3, "fr": 10}  # of 13
    for samples in batches(trainer, 2):
        trainer.train_step(samples)


REFUSED = {
    "plain subset": ({"train_subset": "train"}, r"dataset\.train_subset is 'train' .*es:train_es"),
    "learned": ({"learn_mask": True}, r"task\.learn_mask is True with task\.mask_per_corpus=true"),
    "dense": ({"sparsity": 0}, r"task\.sparsity is 0\.0 with .*expected a value above 0"),
    "grows": ({"initial_sparsity": 0.1, "ramp_updates": 9}, r"task\.initial_sparsity is 0\.1 with"),
    "rule": ({"prune_rule": "rigl"}, r"task\.prune_rule is 'rigl' with .*expected parp"),
    "corpus": ({"corpus": "es"}, r"task\.corpus is 'es' with .*expected null in training"),
    "key twice": ({"train_subset": "es:train_es,es:train_fr"}, "no split of several corpora"),
    "no manifest": ({"train_subset": "es:train_es,it:train_it"}, r"train_it\.tsv does not exist"),
    "half the mask files": (
        {"mask_file": "es:here.safetensors"},
        r"task\.mask_file is 'es:here.safetensors': expected KEY:FILE,KEY:FILE with a file for",
    ),
    "no such mask": (
        {"mask_file": "es:no.safetensors,fr:no.safetensors"},
        r"mask file no\.safetensors does not exist",
    ),
    "validation by no corpus": (
        {"valid_subset": "valid_es", "disable_validation": False},
        r"valid_es\.tsv, line 2: it is not known whose subnetwork",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_with_it_is_refused(data, encoder, tmp_path, case):
    options, message = REFUSED[case]
    assert_refused(message, tmp_path, config(data, encoder, tmp_path, max_update=1, **options))


def test_random_masks_differ_and_magnitude_is_warned_of(data, encoder, tmp_path, caplog):
    random = make_trainer(config(data, encoder, tmp_path, prune_criterion="random", adjust="false"))
    for samples in batches(random, 1):
        random.train_step(samples)
    es, fr = (one.mask for one in random.task.pruner.pruners.values())
    assert es.iou(fr) == pytest.approx(1 / 3, abs=0.03)
    assert "masks differ only by when" not in caplog.text
    make_trainer(config(data, encoder, tmp_path))
    assert "ranks the weights by magnitude, which all corpora share" in caplog.text


def test_files_of_masks():
    assert mask_files_of(None, CORPORA) == {"es": None, "fr": None}
    assert mask_files_of("/a:b/m.st", CORPORA) == {"es": "/a:b/m.st", "fr": "/a:b/m.st"}
    assert mask_files_of("fr:/b:c, es:/a", CORPORA) == {"es": "/a", "fr": "/b:c"}
    with pytest.raises(ValueError, match="expected KEY:FILE"):
        mask_files_of("es:/a,fr:/b,es:/c", CORPORA)


def test_a_switch_shows_one_subnetwork_after_another():
    params = {"fc1.weight": torch.randn(6, 4)}
    whole = params["fc1.weight"].clone()
    masks = {name: Mask({"fc1.weight": torch.rand(6, 4) < 0.5}) for name in ("a", "b")}
    switch = Switch(Subnetwork(params), masks)
    for name in ("a", "b", "b", None, "a"):
        switch.show(name)
        kept = (
            masks[name]["fc1.weight"]
            if name
            else masks["a"]["fc1.weight"] | masks["b"]["fc1.weight"]
        )
        assert torch.equal(params["fc1.weight"], whole * kept)
    switch.subnetwork.restore()
    assert torch.equal(params["fc1.weight"], whole)
    with pytest.raises(KeyError):
        switch.show("c")
    with pytest.raises(ValueError, match="there are no masks"):
        Mask.union([])


def test_a_shared_network_is_never_zeroed():
    params = {"fc1.weight": torch.randn(6, 4)}
    whole, mask = params["fc1.weight"].clone(), Mask({"fc1.weight": torch.rand(6, 4) < 0.5})
    shared = SharedSubnetwork(params)
    shared.apply(mask)
    assert torch.equal(params["fc1.weight"], whole)
    states = {"fc1.weight": {"step": torch.tensor(1.0)}}
    with shared.stepping_inside(mask, lambda: states):
        params["fc1.weight"].add_(1)
        states["fc1.weight"]["exp_avg"] = torch.ones(6, 4)  # made by the first step
    kept = mask["fc1.weight"]
    assert torch.equal(params["fc1.weight"], torch.where(kept, whole + 1, whole))
    assert torch.equal(states["fc1.weight"]["exp_avg"], kept.float())
