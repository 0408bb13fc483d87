"""What a Trainer may use beside :class:`ParpCallback`; all else is refused before training."""

from typing import Any, Mapping

from accelerate.state import AcceleratorState
from torch import Tensor, nn
from transformers import TrainingArguments

from .attachment import torch_optimizer


def require_supported(args: TrainingArguments, model: nn.Module) -> None:
    """Raise ValueError where the weights of ``model`` are, or will be, in shards."""
    kind = ""
    if AcceleratorState._shared_state:  # the Trainer has made it
        kind = AcceleratorState().distributed_type.name
    if args.deepspeed or kind == "DEEPSPEED":
        _refuse("DeepSpeed", "keeps float32 copies of the weights in shards, and trains those")
    if args.fsdp or kind == "FSDP" or any(hasattr(p, "device_mesh") for p in model.parameters()):
        _refuse("FSDP or tensor parallelism", "keeps a part of each weight on each process")
    if kind and kind != "NO" and not kind.startswith("MULTI_"):
        _refuse(f"{kind} of Accelerate", "was never tested")


def _refuse(what: str, reason: str) -> None:
    raise ValueError(
        f"ParpCallback does not support {what}, which {reason}: all weights are ranked together; "
        "expected a single process, or several with DistributedDataParallel"
    )


def require_supported_optimizer(optimizer: Any) -> None:
    """Raise ValueError where the optimizer changes weights outside of its steps."""
    inner = torch_optimizer(optimizer)
    if callable(getattr(inner, "eval", None)):
        raise ValueError(
            f"ParpCallback does not support the optimizer {type(inner).__name__}, which exchanges "
            "the weights for others in evaluation (as schedule-free optimizers do): expected one "
            "that changes them in step() alone, such as AdamW"
        )


def untrained(optimizer: Any, params: Mapping[str, Tensor]) -> Mapping[str, str]:
    """Name -> the reason, for those of ``params`` that ``optimizer`` leaves as they are.

    Raises:
        ValueError: it holds none of them.
    """
    inner = torch_optimizer(optimizer)
    held = {id(param) for group in inner.param_groups for param in group["params"]}
    reasons = {
        name: "requires_grad is False" if not param.requires_grad else "not in the optimizer"
        for name, param in params.items()
        if id(param) not in held or not param.requires_grad
    }
    if not held & set(map(id, params.values())):
        raise ValueError(
            f"the optimizer ({type(inner).__name__}) holds none of the {len(params)} parameters "
            f"that are to be pruned, such as {next(iter(params))}: expected an optimizer made of "
            "the parameters of the model that the Trainer has, or none, so that the Trainer makes "
            "it"
        )
    return reasons
