"""Finetuned: what a finetuned checkpoint of fairseq holds, checked tensor by tensor."""

import argparse
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch
from torch import Tensor

from .architecture import Architecture, TensorSpec

ENCODER = "w2v_encoder.w2v_model."
HEAD = "w2v_encoder.proj."
BLANK = "<s>"  # what audio_finetuning takes for the CTC blank


@dataclass(frozen=True)
class Finetuned:
    """A finetuned ``wav2vec_ctc``.

    Args:
        architecture: of the encoder.
        encoder: its tensors, float32, by fairseq's names relative to it.
        head_weight, head_bias: the projection to symbols, shapes ``(symbols, width)``,
            ``(symbols,)``. ``blank_weight`` of the model is part of them.
        symbols: those of the target dictionary, in order.
        normalize: whether the network takes normalised audio.
        model, task, criterion: their settings.
    """

    architecture: Architecture
    encoder: Dict[str, Tensor]
    head_weight: Tensor
    head_bias: Tensor
    symbols: List[str]
    normalize: bool
    model: Mapping[str, Any]
    task: Mapping[str, Any]
    criterion: Mapping[str, Any]

    @classmethod
    def of(cls, state: Mapping[str, Any], symbols: Optional[Sequence[str]] = None) -> "Finetuned":
        """Read ``state``, the dict in a checkpoint.

        A pre-trained encoder gets a new head for ``symbols``, the same each time.

        Args:
            state: with the weights under ``"model"``.
            symbols: those of the target dictionary; None takes the dictionary in the checkpoint.

        Raises:
            ValueError: it is no finetuned ``wav2vec_ctc``, and no encoder with ``symbols``; or its
                parts do not fit together.
        """
        if "mask_emb" in state["model"] and symbols:
            return _with_new_head(state, list(symbols))
        model, task, criterion = (_section(state, key) for key in ("model", "task", "criterion"))
        if isinstance(state.get("pruned_with"), Mapping):  # of parp shrink
            task = {**state["pruned_with"], **task}
        weights = state["model"]
        if not any(name.startswith(HEAD) for name in weights):
            what = "a pre-trained encoder" if "mask_emb" in weights else "another model"
            raise ValueError(
                f"found {what}, without {HEAD}weight: expected a finetuned model with a CTC head, "
                "or an encoder and the dictionary for a new head"
            )
        inner = model.get("w2v_args")
        if inner is None:
            raise ValueError("its settings lack w2v_args, those of the encoder")
        settings = _section({"cfg": inner, "args": inner}, "model")
        kind = settings.get("_name") or settings.get("arch")
        if kind != "wav2vec2":
            raise ValueError(
                f"its encoder is {kind!r}: expected wav2vec2, the only one that can be exported"
            )
        architecture = Architecture.of_fairseq(settings)
        encoder = {
            name[len(ENCODER) :]: weight
            for name, weight in weights.items()
            if name.startswith(ENCODER)
        }
        encoder = take(encoder, architecture.tensors(), "fairseq", ENCODER)
        symbols = list(symbols or _symbols(state))
        head_weight, head_bias = _head(weights, model, symbols, architecture.width)
        return cls(
            architecture,
            encoder,
            head_weight,
            head_bias,
            symbols,
            bool(model.get("normalize", task.get("normalize", False))),
            model,
            task,
            criterion,
        )


def take(
    found: Mapping[str, Tensor], expected: Sequence[TensorSpec], names: str, prefix: str = ""
) -> Dict[str, Tensor]:
    """The tensors of a wav2vec 2.0 as float32, by fairseq's names.

    Args:
        found: all tensors of a file.
        expected: those of the architecture.
        names: the field of ``expected`` by which they are named in ``found``.
        prefix: put before names in messages.

    Raises:
        ValueError: one is missing, has another shape, or is not expected.
    """
    wanted = {getattr(spec, names): spec for spec in expected}
    unexpected = sorted(found.keys() - wanted.keys())
    if unexpected:
        raise ValueError(f"unexpected tensor {prefix}{unexpected[0]}")
    taken = {}
    for name, spec in wanted.items():
        if name not in found:
            raise ValueError(f"tensor {prefix}{name} is missing")
        weight = found[name]
        if tuple(weight.shape) != spec.shape:
            raise ValueError(
                f"tensor {prefix}{name} has the shape {tuple(weight.shape)}, expected {spec.shape}"
            )
        if not weight.is_floating_point():
            raise ValueError(f"tensor {prefix}{name} holds {weight.dtype}, expected real numbers")
        taken[spec.fairseq] = weight.detach().to(torch.float32).contiguous()
    return taken


def _with_new_head(state: Mapping[str, Any], symbols: List[str]) -> Finetuned:
    model, task = (_section(state, key) for key in ("model", "task"))
    architecture = Architecture.of_fairseq(model)
    expected = architecture.tensors()  # without the quantizer of pre-training
    names = {spec.fairseq for spec in expected}
    found = {name: weight for name, weight in state["model"].items() if name in names}
    head = torch.empty(len(symbols), architecture.width)
    torch.nn.init.xavier_uniform_(head, generator=torch.Generator().manual_seed(0))
    return Finetuned(
        architecture,
        take(found, expected, "fairseq"),
        head,
        torch.zeros(len(symbols)),
        symbols,
        bool(task.get("normalize", False)),
        model={},
        task={"method": "dense", "sparsity": 0.0},
        criterion={"zero_infinity": True},
    )


def _section(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Settings of the model, the task or the criterion; old checkpoints keep all in one object."""
    settings = state.get("args") if state.get("args") is not None else state.get("cfg")
    if isinstance(settings, argparse.Namespace):
        return vars(settings)
    section = settings.get(name) if isinstance(settings, Mapping) else None
    if isinstance(section, argparse.Namespace):
        section = vars(section)
    if not isinstance(section, Mapping):
        if name == "criterion":
            return {}
        raise ValueError(f"its settings hold no {name!r}: expected 'cfg' or 'args' of fairseq")
    return section


def _symbols(state: Mapping[str, Any]) -> Sequence[str]:
    dictionary = (state.get("task_state") or {}).get("target_dictionary")
    symbols = getattr(dictionary, "symbols", None)
    if not symbols:
        raise ValueError("it holds no target dictionary: give the dict.*.txt with --dictionary")
    return symbols


def _head(weights: Mapping[str, Tensor], model: Mapping[str, Any], symbols, width: int):
    weight, bias = (weights.get(HEAD + name) for name in ("weight", "bias"))
    for name, tensor, shape in (
        ("weight", weight, (len(symbols), width)),
        ("bias", bias, (len(symbols),)),
    ):
        if tensor is None:
            raise ValueError(f"tensor {HEAD}{name} is missing")
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"tensor {HEAD}{name} has the shape {tuple(tensor.shape)}, expected {shape}: the "
                f"dictionary has {len(symbols)} symbols"
            )
    if symbols[0] != BLANK:
        raise ValueError(f"the first symbol is {symbols[0]!r}, expected the blank, {BLANK!r}")
    weight, bias = weight.to(torch.float32).clone(), bias.to(torch.float32).clone()
    blank_weight = model.get("blank_weight") or 0.0
    if blank_weight and model.get("blank_mode", "add") == "set":
        weight[0], bias[0] = 0.0, blank_weight
    elif blank_weight:
        bias[0] += blank_weight
    return weight, bias
