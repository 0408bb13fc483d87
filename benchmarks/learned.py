"""Learned masks: an update, its selection, and the bytes of ten languages, against named peers.

An update of task.learn_mask is compared with one of stock dense finetuning, and with one that sorts
the scores of every matrix in every forward pass, as the paper's code does.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict

import torch
from finetuning import TASKS, finetune
from selection import draw_weights, make_model
from torch import Tensor, nn
from torch.nn.utils import parametrize

from parp_fairseq.pruning import Mask, magnitude, parse_pattern, prunable_parameters
from parp_fairseq.pruning.pack import Pack

SPARSITY = 0.1
LEARNED = ["--learn-mask", "--prune-pattern", "layerwise", "--prune-bias", "false"]
CONTENDERS = {
    "dense, stock": TASKS["stock"],
    "learned mask": [*TASKS["parp"], *LEARNED, "--sparsity", str(SPARSITY)],
    "sorted in each forward": TASKS["stock"],
}


class _Kept(torch.autograd.Function):
    """W * m with the highest |s| kept, by a full sort; straight through."""

    @staticmethod
    def forward(ctx, scores: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(scores, weight)
        mask = torch.ones_like(scores).view(-1)
        order = scores.abs().flatten().sort().indices
        mask[order[: round(SPARSITY * len(order))]] = 0
        return weight * mask.view_as(weight)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        scores, weight = ctx.saved_tensors
        return gradient * weight * scores.sign(), None


class _Scored(nn.Module):
    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = weight

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight.clone()

    def forward(self, scores: Tensor) -> Tensor:
        return _Kept.apply(scores, self.weight)


def sort_in_each_forward(model: nn.Module) -> None:
    """Freeze all but the head and the scores, which stand where the weights were."""
    chosen = {id(w) for n, w in prunable_parameters(model, bias=False).items()}
    layers = [m for m in model.modules() if isinstance(m, nn.Linear) and id(m.weight) in chosen]
    model.w2v_encoder.w2v_model.requires_grad_(False)
    for layer in layers:
        parametrize.register_parametrization(
            layer, "weight", _Scored(layer.weight.detach().clone())
        )
        layer.parametrizations.weight.original.requires_grad_()


def update(contender: str, encoder: str, data: str, updates: int, batch: int) -> Dict:
    """Seconds of each update, of the start-up, and the most memory held; batch: seconds."""
    prepare = sort_in_each_forward if contender == "sorted in each forward" else None
    return finetune(CONTENDERS[contender], encoder, data, updates, prepare, 16_000 * batch)


def selection(layers: int, width: int, repeats: int) -> Dict:
    """Seconds to select a layerwise mask from scores."""
    torch.manual_seed(0)
    model = make_model(layers, width)
    scores = {n: p.detach() for n, p in model.named_parameters() if n.endswith("weight")}
    seconds = []
    for _ in range(repeats):
        draw_weights(model)
        start = time.perf_counter()
        Mask(parse_pattern("layerwise")(scores, magnitude, SPARSITY))
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "weights": sum(score.numel() for score in scores.values())}


def packs(encoder: str, languages: int) -> Dict:
    """Bytes of an encoder and packs for many languages, and of a dense model for each.

    A head for 32 symbols stands for each language. The encoder counts as finetuning uses it,
    without what only pre-training needs.
    """
    base = torch.load(encoder, map_location="cpu", weights_only=True)["model"]
    weights = {
        f"w2v_encoder.w2v_model.{name}": weight.clone()
        for name, weight in base.items()
        if not name.startswith(("quantizer", "project_q", "final_proj"))
    }
    backbone = sum(weight.numel() * weight.element_size() for weight in weights.values())
    weights["w2v_encoder.proj.weight"], weights["w2v_encoder.proj.bias"] = (
        torch.randn(32, 768), torch.randn(32),
    )  # fmt: skip
    dense = sum(weight.numel() * weight.element_size() for weight in weights.values())
    masked = prunable_parameters(weights, bias=False)
    Mask(parse_pattern("layerwise")(masked, magnitude, SPARSITY)).apply_(masked)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pack.safetensors"
        Pack.of(weights, base, {}).save(path)
        pack = path.stat().st_size
    return {
        "languages": languages,
        "dense": languages * dense,
        "packed": backbone + languages * pack,
        "pack": pack,
    }


MEASURES = {"update": update, "selection": selection, "packs": packs}

if __name__ == "__main__":
    arguments = json.loads(sys.argv[2])
    print(json.dumps(MEASURES[arguments.pop("what")](**arguments)))
