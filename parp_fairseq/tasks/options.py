"""The options of the task ``parp``, and the pruner that they describe."""

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Dict, Mapping, Optional

from fairseq.dataclass import ChoiceEnum
from fairseq.tasks.audio_finetuning import AudioFinetuningConfig
from omegaconf import II
from torch import nn

from parp_fairseq.pruning import (
    Mask,
    Pruner,
    RandomScores,
    Schedule,
    magnitude,
    parse_pattern,
    prunable_parameters,
)
from parp_fairseq.pruning.pattern import prunes_biases


@dataclass
class ParpConfig(AudioFinetuningConfig):
    """The options of ``audio_finetuning``, and those of pruning."""

    sparsity: float = field(
        default=0.5,
        metadata={
            "help": "share of the prunable weights that is zero in the subnetwork, 0 <= sparsity < "
            "1; 0 finetunes the whole network exactly as the stock task audio_finetuning does"
        },
    )
    initial_sparsity: Optional[float] = field(
        default=None,
        metadata={
            "help": "PARP-P: sparsity of the first prune, at most `sparsity`; later prunes grow to "
            "`sparsity`. Not given: `sparsity` from the start (PARP)"
        },
    )
    sparsity_ramp: ChoiceEnum(["linear", "cubic"]) = field(
        default="linear",
        metadata={
            "help": "PARP-P: how sparsity grows from `initial_sparsity` to `sparsity`; cubic is "
            "fast first and slow near the end (Zhu & Gupta, 2017)"
        },
    )
    ramp_updates: Optional[int] = field(
        default=None,
        metadata={
            "help": "PARP-P: updates until `sparsity` is reached. Not given: "
            "optimization.max_update"
        },
    )
    prune_interval: int = field(
        default=50,
        metadata={
            "help": "N: optimizer updates between two re-prunes. Steps of gradient accumulation "
            "(update_freq) and steps skipped on overflow do not count"
        },
    )
    prune_interval_epochs: Optional[int] = field(
        default=None,
        metadata={
            "help": "epochs between two re-prunes, as the paper's authors count; overrides "
            "`prune_interval`"
        },
    )
    adjust: bool = field(
        default=True,
        metadata={
            "help": "true: pruned weights keep training and the mask is renewed (PARP). false: the "
            "first mask stays fixed (RP, MPI, OMP, IMP)"
        },
    )
    mask_file: Optional[str] = field(
        default=None,
        metadata={
            "help": "file with the initial mask: .safetensors written by `parp mask`, or a .pt of "
            "the paper's authors. Not given: made by `prune_criterion` from the weights at hand"
        },
    )
    prune_criterion: ChoiceEnum(["magnitude", "random"]) = field(
        default="magnitude",
        metadata={
            "help": "how the initial mask is chosen: magnitude prunes the smallest |w|, random "
            "draws from common.seed. Re-prunes always go by magnitude"
        },
    )
    prune_pattern: str = field(
        default="global",
        metadata={
            "help": "over which sets weights compete: global, layerwise (`sparsity` in every "
            "tensor), or N:M such as 2:4 (N of every M kept along the input; biases stay whole)"
        },
    )
    prune_scope: str = field(
        default="transformer",
        metadata={
            "help": "what may be pruned: transformer (k_proj, v_proj, q_proj, out_proj, fc1, fc2), "
            "feature_extractor (its convolutions), all (both, and post_extract_proj), or "
            "re:<regex> searched for in parameter names such as encoder.layers.0.fc1.weight"
        },
    )
    prune_bias: bool = field(
        default=True,
        metadata={"help": "whether biases inside the scope are pruned too"},
    )
    # Told by other parts of the config; without a help text they are no options of the task.
    seed: int = II("common.seed")
    max_update: int = II("optimization.max_update")
    train_subset: str = II("dataset.train_subset")
    ddp_backend: str = II("distributed_training.ddp_backend")
    zero_sharding: str = II("distributed_training.zero_sharding")
    load_checkpoint_on_all_dp_ranks: bool = II("checkpoint.load_checkpoint_on_all_dp_ranks")
    save_dir: str = II("checkpoint.save_dir")


PRUNING_OPTIONS = [
    option.name
    for option in fields(ParpConfig)
    if option.metadata.get("help") and option.name not in AudioFinetuningConfig.__dataclass_fields__
]


def build_schedule(cfg: ParpConfig) -> Schedule:
    """The schedule that the options describe; ValueError names an option out of range."""
    by_epochs = cfg.prune_interval_epochs is not None
    return Schedule(
        sparsity=cfg.sparsity,
        initial_sparsity=cfg.initial_sparsity,
        ramp=str(cfg.sparsity_ramp),
        ramp_updates=cfg.max_update if cfg.ramp_updates is None else cfg.ramp_updates,
        interval=None if by_epochs else cfg.prune_interval,
        epochs=cfg.prune_interval_epochs,
    )


def pruning_options(cfg: ParpConfig) -> Dict[str, Any]:
    """The options of pruning, as plain values; where the sparsity grows, until when."""
    options = {name: cfg[name] for name in PRUNING_OPTIONS}
    schedule = build_schedule(cfg)
    if schedule.grows:
        options["ramp_updates"] = schedule.ramp_updates
    return {k: str(v) if isinstance(v, Enum) else v for k, v in options.items()}


def require_unchanged(cfg: ParpConfig, before: Mapping[str, Any]) -> None:
    """Raise ValueError where a run is resumed with other options of pruning than it had."""
    for name, value in pruning_options(cfg).items():
        if name in before and before[name] != value:
            raise ValueError(
                f"task.{name} is {value!r}, but the run that would be resumed has {before[name]!r}:"
                " set it back, or begin anew from its weights with checkpoint.reset_optimizer=true"
            )


def build_pruner(cfg: ParpConfig, model: nn.Module) -> Pruner:
    """The pruner of ``model`` that the options describe; ValueError names what does not fit."""
    pattern = parse_pattern(cfg.prune_pattern)
    has_biases = prunes_biases(cfg.prune_bias, cfg.prune_pattern)
    criterion = RandomScores(cfg.seed) if cfg.prune_criterion == "random" else magnitude
    params = prunable_parameters(model, cfg.prune_scope, has_biases)
    pruner = Pruner(params, build_schedule(cfg), criterion, pattern, cfg.adjust)
    if cfg.mask_file:
        mask = Mask.load(cfg.mask_file)
        try:
            pruner.start_from(mask)
        except ValueError as error:
            raise ValueError(f"mask file {cfg.mask_file}: {error}") from None
    return pruner
