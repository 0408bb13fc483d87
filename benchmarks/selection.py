"""One mask: time and memory, against torch.nn.utils.prune, kthvalue, and a bare pass in place.

Every contender prunes the same random weights, in the shapes of wav2vec 2.0: 12 layers of width 768
are base (85.0 M prunable weights), 24 of width 1024 large (302.2 M).
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict

import torch
from fresh import keep_nothing_freed, peak_gb, restart_peak
from torch import Tensor, nn
from torch.nn.utils import prune

from parp_fairseq.pruning import Subnetwork, magnitude_mask

SHAPES = {"base": (12, 768), "large": (24, 1024)}
PROJECTIONS = ("k_proj", "v_proj", "q_proj", "out_proj", "fc1", "fc2")


def make_model(layers: int, width: int) -> nn.Module:
    """Linear layers as in a transformer of wav2vec 2.0."""
    sizes = [(width, width)] * 4 + [(width, 4 * width), (4 * width, width)]
    return nn.ModuleList(
        nn.ModuleDict({name: nn.Linear(*size) for name, size in zip(PROJECTIONS, sizes)})
        for _ in range(layers)
    )


def draw_weights(model: nn.Module) -> None:
    for param in model.parameters():
        nn.init.normal_(param, std=0.02)


# A contender is made ready for a model and a sparsity; what it returns is timed.
Contender = Callable[[nn.Module, float], Callable[[], object]]


def our_mask(model: nn.Module, sparsity: float):
    params = dict(model.named_parameters())
    return lambda: magnitude_mask(params, sparsity)


def our_mask_applied(model: nn.Module, sparsity: float):
    params = dict(model.named_parameters())
    return lambda: magnitude_mask(params, sparsity).apply_(params)


def eval_and_train(model: nn.Module, sparsity: float):
    """To the subnetwork, and back to all weights."""
    params = dict(model.named_parameters())
    mask = magnitude_mask(params, sparsity)
    subnetwork = Subnetwork(params)

    def switch() -> None:
        with subnetwork.hidden(mask):
            pass

    return switch


def enforce(model: nn.Module, sparsity: float):
    """Zero again what a fixed mask prunes, as after each update."""
    params = dict(model.named_parameters())
    mask = magnitude_mask(params, sparsity)
    subnetwork = Subnetwork(params)
    return lambda: subnetwork.apply(mask)


def global_unstructured(model: nn.Module, sparsity: float):
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    pairs = [(module, name) for module in linear for name in ("weight", "bias")]

    def prune_and_remove() -> None:
        prune.global_unstructured(pairs, prune.L1Unstructured, amount=sparsity)
        for module, name in pairs:
            prune.remove(module, name)

    return prune_and_remove


def kthvalue(model: nn.Module, sparsity: float):
    @torch.no_grad()
    def join_and_cut() -> None:
        joined = torch.cat([param.abs().view(-1) for param in model.parameters()])
        threshold = joined.kthvalue(round(sparsity * joined.numel())).values
        for param in model.parameters():
            param.mul_(param.abs() > threshold)

    return join_and_cut


def bare_pass(model: nn.Module, sparsity: float):
    @torch.no_grad()
    def mask_by_a_known_threshold() -> None:
        for param in model.parameters():
            param.mul_(param.abs() > 0.0135)

    return mask_by_a_known_threshold


CONTENDERS: Dict[str, Contender] = {
    "mask": our_mask,
    "mask, applied": our_mask_applied,
    "eval() and train()": eval_and_train,
    "fixed mask, enforced": enforce,
    "global_unstructured": global_unstructured,
    "cat + kthvalue": kthvalue,
    "bare pass in place": bare_pass,
}


def seconds(
    contender: str, layers: int, width: int, sparsity: float, device: str, repeats: int
) -> Dict:
    """Seconds of each repeat."""
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    torch.manual_seed(0)
    model = make_model(layers, width).to(device)
    draw_weights(model)
    bare_pass(model, sparsity)()  # so that what torch sets up once is not timed
    found = []
    for _ in range(repeats):
        draw_weights(model)
        timed = CONTENDERS[contender](model, sparsity)
        wait()
        start = time.perf_counter()
        timed()
        wait()
        found.append(time.perf_counter() - start)
    return {"seconds": found, "weights": sum(param.numel() for param in model.parameters())}


def memory(contender: str, layers: int, width: int, sparsity: float, device: str) -> Dict:
    """GB taken at the most beside the weights."""
    keep_nothing_freed()
    torch.manual_seed(0)
    small, model = make_model(1, 256).to(device), make_model(layers, width).to(device)
    draw_weights(model)
    CONTENDERS[contender](small, sparsity)()  # what libraries set up once is not counted
    before = restart_peak(device)
    CONTENDERS[contender](model, sparsity)()
    return {"extra_gb": peak_gb(device) - before}


def file_size(layers: int, width: int) -> Dict:
    """Bits a weight of a mask file, and of the authors' form of the same mask."""
    weights: Dict[str, Tensor] = dict(make_model(layers, width).named_parameters())
    mask = magnitude_mask(weights, 0.5)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "mask.safetensors", Path(folder) / "mask.pt"
        mask.save(ours)
        torch.save({f"{name}_mask": keep.float() for name, keep in mask.items()}, theirs)
        sizes = [8 * path.stat().st_size / mask.num_weights for path in (ours, theirs)]
    return {"bits": sizes[0], "authors_bits": sizes[1]}


def seconds_and_memory(repeats: int, **of) -> Dict:
    """Both in one process, for a GPU: torch counts its memory without a cost."""
    return seconds(**of, repeats=repeats) | memory(**of)


MEASURES = {
    "seconds": seconds,
    "memory": memory,
    "seconds_and_memory": seconds_and_memory,
    "file_size": file_size,
}

if __name__ == "__main__":
    arguments = json.loads(sys.argv[2])
    print(json.dumps(MEASURES[arguments.pop("what")](**arguments)))
