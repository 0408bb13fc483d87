"""What a run may be trained with: parts of fairseq that are known to keep pruned weights pruned.

The list is of what tests cover. Everything else is refused by name: an optimizer or a wrapper that
keeps copies of the weights of its own, say, brings pruned weights back without a word.
"""

from typing import Any

from fairseq.optim import OPTIMIZER_REGISTRY, FP16Optimizer, MemoryEfficientFP16Optimizer
from fairseq.optim.amp_optimizer import AMPOptimizer

OPTIMIZERS = ("adam", "adafactor", "adadelta", "adagrad", "adamax", "nag", "sgd")
DDP_BACKENDS = ("legacy_ddp", "no_c10d", "pytorch_ddp", "c10d")
WRAPPERS = (FP16Optimizer, MemoryEfficientFP16Optimizer, AMPOptimizer)

# Options that must keep the value that turns them off.
_SWITCHES = {
    "optimization.use_bmuf": False,
    "distributed_training.zero_sharding": "none",
    "distributed_training.pipeline_model_parallel": False,
    "common.model_parallel_size": 1,
    "common.tpu": False,
    "common.quantization_config_path": None,
}


def require_supported(config: Any) -> None:
    """Raise ValueError where ``config``, of a run, names a part that is not known to work."""
    _require_one_of(
        "distributed_training.ddp_backend", config.distributed_training.ddp_backend, DDP_BACKENDS
    )
    _require_one_of("optimizer", getattr(config.optimizer, "_name", None), OPTIMIZERS)
    for option, off in _SWITCHES.items():
        section, name = option.split(".")
        value = getattr(config[section], name, off)
        if value != off:
            shown = "null" if off is None else str(off).lower()
            raise ValueError(f"task parp does not support {option}={value}: expected {shown}")
    for option in ("memory_efficient_fp16", "memory_efficient_bf16"):
        if config.task.learn_mask and getattr(config.common, option):
            raise ValueError(
                f"task.learn_mask does not support common.{option}=true: it keeps no float32 "
                f"scores, by which the mask is selected; expected {option[17:]} alone, or amp"
            )


def require_supported_optimizer(optimizer: Any) -> None:
    """Raise ValueError where ``optimizer``, as the trainer built it, is not one of the list."""
    kind = type(optimizer)
    inner = kind
    if kind in WRAPPERS:
        memory_efficient = kind is MemoryEfficientFP16Optimizer
        inner = type(optimizer.wrapped_optimizer if memory_efficient else optimizer.fp32_optimizer)
    if inner not in [OPTIMIZER_REGISTRY.get(name) for name in OPTIMIZERS]:
        raise ValueError(
            f"task parp does not support the optimizer {inner.__name__}: expected one of "
            f"{', '.join(OPTIMIZERS)}, in float32 or under fairseq's fp16, bf16 or amp"
        )


def _require_one_of(option: str, value: Any, known) -> None:
    if str(value) not in known:
        raise ValueError(
            f"task parp does not support {option}={value}: expected one of {', '.join(known)}"
        )
