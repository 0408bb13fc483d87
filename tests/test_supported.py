"""Optimizers, wrappers and backends: those of the list keep pruned weights pruned; others stop."""

import pytest
from fairseq_runs import load, make_trainer, training_config
from test_training import run

from parp_fairseq.pruning import prunable_parameters
from parp_fairseq.tasks.supported import OPTIMIZERS


def zeros(params) -> int:
    return sum(int((param == 0).sum()) for param in params.values())


@pytest.mark.parametrize("adjust", ["true", "false"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_pruned_weights_stay_pruned(corpus, encoder, tmp_path, optimizer, adjust):
    extra = dict(momentum=0.9) if optimizer in ("sgd", "nag") else {}
    cfg = training_config(
        corpus, encoder, tmp_path, optimizer=optimizer, adjust=adjust, prune_interval=2, **extra
    )
    trainer = make_trainer(cfg)
    before = load(encoder)["model"]["encoder.layers.0.fc1.weight"]
    run(trainer, 3)
    model = trainer.get_model()
    params = prunable_parameters(model)
    total = sum(param.numel() for param in params.values())
    assert not (params["encoder.layers.0.fc1.weight"][before != 0] == 0).all()
    assert zeros(prunable_parameters(model.state_dict())) == round(0.5 * total)
    model.eval()
    assert zeros(params) == round(0.5 * total)


REFUSED = {
    "bmuf": (dict(use_bmuf=True), r"does not support optimization\.use_bmuf=True: expected false"),
    "slowmo": (dict(ddp_backend="slowmo"), r"does not support .*ddp_backend=slowmo: expected one"),
    "composite": (dict(optimizer="composite"), "does not support optimizer=composite"),
    "quantization": (
        dict(quantization_config_path="q.yaml"),
        r"does not support common\.quantization_config_path=q\.yaml: expected null",
    ),
}


@pytest.mark.parametrize("changes, message", REFUSED.values(), ids=REFUSED)
def test_others_are_refused_by_name(corpus, encoder, tmp_path, changes, message):
    optimizer = changes.get("optimizer")
    cfg = training_config(corpus, encoder, tmp_path, **{**changes, "optimizer": "adam"})
    if optimizer:
        cfg.optimizer._name = optimizer
    with pytest.raises(ValueError, match=message):
        make_trainer(cfg)
