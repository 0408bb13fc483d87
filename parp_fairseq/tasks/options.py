"""The options of the tasks, and the pruner that they describe."""

import logging
from dataclasses import dataclass, field, fields
from typing import Any, Callable, Dict, Mapping, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks.audio_finetuning import AudioFinetuningConfig
from omegaconf import II
from torch import nn

from parp_fairseq.pruning import Pruner, Schedule
from parp_fairseq.pruning.options import (
    Run,
    criterion_of,
    describe_untrained,
    plain,
    pruner_of,
    require_gradients,
    require_ramp_ends,
    rule_of,
    schedule_of,
)

from .decoding import DecodingConfig
from .frozen import frozen_parameters
from .trainable import train_only

logger = logging.getLogger(__name__)


@dataclass
class PruningConfig(FairseqDataclass):
    """The options of pruning, which all tasks of this package have."""

    method: Optional[str] = field(
        default=None,
        metadata={
            "help": "name of the method that the other options make up, set by the presets "
            "(+method=dense, rp, mpi, parp, ...): options that contradict it are an error. Not "
            "given: the options alone decide, and by default they are those of PARP"
        },
    )
    sparsity: float = field(
        default=0.5,
        metadata={
            "help": "share of the prunable weights that is zero in the subnetwork, 0 <= sparsity < "
            "1; 0 finetunes the whole network exactly as the stock task does"
        },
    )
    initial_sparsity: Optional[float] = field(
        default=None,
        metadata={
            "help": "PARP-P: sparsity of the first prune, at most `sparsity`, to which re-prunes "
            "raise it. Not given: `sparsity` from the start (PARP)"
        },
    )
    sparsity_ramp: ChoiceEnum(["linear", "cubic"]) = field(
        default="linear",
        metadata={
            "help": "PARP-P: how the sparsity grows from `initial_sparsity` to `sparsity`: linear, "
            "or cubic, which is fast at first and slow near the end (Zhu & Gupta, 2017)"
        },
    )
    ramp_updates: Optional[int] = field(
        default=None,
        metadata={
            "help": "PARP-P: updates until `sparsity` is reached, at most optimization.max_update; "
            "there the network is re-pruned in any case. Not given: half of "
            "optimization.max_update, so that the second half trains at `sparsity`"
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
            "help": "epochs between two re-prunes, which is how the paper's authors count; "
            "overrides `prune_interval`"
        },
    )
    adjust: bool = field(
        default=True,
        metadata={
            "help": "true: pruned weights keep training and re-prunes renew the mask (PARP). "
            "false: the first mask stays fixed (RP, MPI, OMP, IMP, SNIP)"
        },
    )
    mask_file: Optional[str] = field(
        default=None,
        metadata={
            "help": "file with the initial mask: .safetensors written by `parp mask`, or a .pt of "
            "the paper's authors. Not given: made by `prune_criterion` from the weights at hand"
        },
    )
    prune_criterion: str = field(
        default="magnitude",
        metadata={
            "help": "how weights are ranked, for the initial mask and for re-prunes; the lowest "
            "scores are pruned: magnitude (|w|), wanda (|w| times the norm of the input feature), "
            "taylor (|w g|, g the gradient of the last update; at initialisation this is SNIP), "
            "movement (-w g, summed over the updates), fisher (w^2 g^2, summed), random (drawn "
            "from common.seed; re-prunes then go by magnitude), or a name that the module in "
            "common.user_dir registers with parp_fairseq.pruning.register_criterion. A criterion "
            "that measures makes the initial mask at the end of the first update"
        },
    )
    prune_rule: str = field(
        default="parp",
        metadata={
            "help": "how a re-prune makes the next mask: parp (the lowest scores of all weights "
            "go; pruned weights keep training), rigl (a falling share of the kept weights is "
            "dropped by magnitude, and as many grow back from zero where the gradient is largest; "
            "pruned weights stay zero in between; needs optimization.max_update), or a name that "
            "the module in common.user_dir registers with parp_fairseq.pruning.register_rule"
        },
    )
    prune_pattern: str = field(
        default="global",
        metadata={
            "help": "over which sets weights compete: global (all together), layerwise "
            "(`sparsity` in every tensor), N:M such as 2:4 (N of every M kept along the input; "
            "biases stay whole), or ffn_channels (whole hidden channels of the feed-forward "
            "layers, which `parp shrink` removes). N:M has a sparsity of its own, to which "
            "`sparsity` must be set"
        },
    )
    prune_scope: str = field(
        default="transformer",
        metadata={
            "help": "what may be pruned: transformer (k_proj, v_proj, q_proj, out_proj, fc1, fc2), "
            "feature_extractor (its convolutions), all (both, and post_extract_proj), or "
            "re:<regex> searched for in parameter names such as encoder.layers.0.fc1.weight. With "
            "`adjust`, all of it must be trained; the convolutions are if model.feature_grad_mult "
            "is above 0"
        },
    )
    prune_bias: bool = field(
        default=True,
        metadata={"help": "whether biases inside the scope are pruned too"},
    )
    learn_mask: bool = field(
        default=False,
        metadata={
            "help": "freeze the weights in the scope and train a score for each (S3-Router); the "
            "mask prunes the share `sparsity` with the lowest |score| and is selected anew after "
            "every update, whatever `prune_interval` is. `sparsity` is the share pruned; the "
            "prune_rate of the paper is the share kept. Needs float32 scores: any precision but "
            "memory_efficient_fp16 and memory_efficient_bf16"
        },
    )
    score_init: ChoiceEnum(["rank", "magnitude", "random"]) = field(
        default="rank",
        metadata={
            "help": "initial scores of `learn_mask`: random draws from common.seed; rank deals "
            "these so that |score| has the order of |weight|; magnitude takes the weights "
            "themselves, for pruning a finetuned model"
        },
    )
    trainable: Optional[str] = field(
        default=None,
        metadata={
            "help": "which parameters train, beside the head and the scores of `learn_mask`: "
            "all (the whole encoder), head (no others), bias (all biases of the encoder; BitFit), "
            "or re:<regex> searched for in parameter names such as encoder.layers.0.fc1.weight. "
            "All others are frozen. Not given: all; with `learn_mask`, head"
        },
    )
    # Taken from other parts of the config. Without a help text they are not options of the task.
    seed: int = II("common.seed")
    max_update: int = II("optimization.max_update")
    train_subset: str = II("dataset.train_subset")
    ddp_backend: str = II("distributed_training.ddp_backend")
    zero_sharding: str = II("distributed_training.zero_sharding")
    load_checkpoint_on_all_dp_ranks: bool = II("checkpoint.load_checkpoint_on_all_dp_ranks")
    save_dir: str = II("checkpoint.save_dir")


PRUNING_OPTIONS = [o.name for o in fields(PruningConfig) if o.metadata.get("help")]


@dataclass
class CorporaConfig(FairseqDataclass):
    """The options of training with a mask for each corpus."""

    mask_per_corpus: bool = field(
        default=False,
        metadata={
            "help": "true: a mask for each corpus that dataset.train_subset names, as "
            "'es:train_es,fr:train_fr'. The corpora are trained in turn over shared weights: a "
            "batch of one sees its subnetwork, and an update changes nothing outside of it. "
            "`prune_interval` counts the updates of the corpus, and `mask_file` may be KEY:FILE,"
            "KEY:FILE. Checkpoints hold what one mask or another keeps; `parp pack --corpus` "
            "gives the subnetwork of one"
        },
    )
    corpus: Optional[str] = field(
        default=None,
        metadata={
            "help": "evaluation of a checkpoint that was trained with `mask_per_corpus`: the "
            "corpus whose subnetwork scores the utterances. Not given: KEY:NAME as the subset "
            "names it, and a joint manifest NAME takes it from the manifests NAME_KEY"
        },
    )


@dataclass
class ParpConfig(PruningConfig, CorporaConfig, DecodingConfig, AudioFinetuningConfig):
    """The options of ``audio_finetuning``, and those of pruning and decoding."""


def _run_of(cfg: Any) -> Run:
    return Run(cfg.max_update, "optimization.max_update", cfg.seed, prefix="task.")


def build_schedule(cfg: Any) -> Schedule:
    """The schedule that the options describe.

    Raises:
        ValueError: an option is out of range; the message names it.
    """
    return schedule_of(cfg, _run_of(cfg))


def pruning_options(cfg: Any) -> Dict[str, Any]:
    """The pruning options as plain values; for a growing sparsity, with the length of its ramp."""
    options = {name: plain(cfg[name]) for name in PRUNING_OPTIONS}
    schedule = build_schedule(cfg)
    if schedule.grows:
        options["ramp_updates"] = schedule.ramp_updates
    return options


def build_pruner(
    cfg: PruningConfig, model: nn.Module, make: Callable[..., Pruner] = pruner_of
) -> Pruner:
    """The pruner of ``model`` that the options describe.

    Args:
        cfg: the options of the task.
        model: the network.
        make: makes the pruner of ``cfg``, the model, a schedule and a run.

    Raises:
        ValueError: an option does not fit the model or the run; the message names it.
    """
    schedule = build_schedule(cfg)
    require_ramp_ends(schedule, _run_of(cfg))
    pruner = make(cfg, model, schedule, _run_of(cfg))
    trainable = cfg.trainable or ("head" if cfg.learn_mask else "all")
    train_only(model, trainable, pruner.params if cfg.learn_mask else {})
    if pruner.prunes:
        frozen = frozen_parameters(model, pruner.params, cfg.max_update, cfg.trainable)
        if warning := describe_untrained(pruner, cfg.prune_scope, frozen, "task."):
            logger.warning(warning)
        _require_measurable(cfg, pruner, model, frozen)
        pruner.watch(model)
    return pruner


def require_registered(cfg: ParpConfig) -> None:
    """Raise ValueError where no criterion or rule has the name that the options give."""
    criterion_of(cfg, _run_of(cfg))
    rule_of(cfg, _run_of(cfg))


def _require_measurable(
    cfg: PruningConfig, pruner: Pruner, model: nn.Module, frozen: Mapping[str, str]
) -> None:
    """Raise ValueError where a run cannot give the criterion and the rule what they ask for."""
    asks, chosen = pruner.observer.asks, f"{cfg.prune_criterion} with rule {cfg.prune_rule}"
    if "progress" in asks and cfg.max_update <= 0:
        raise ValueError(
            f"task.prune_rule is {cfg.prune_rule!r}, which follows the length of the run: expected "
            f"optimization.max_update above 0, found {cfg.max_update}"
        )
    waits = getattr(getattr(model, "w2v_encoder", None), "freeze_finetune_updates", 0)
    if asks & {"gradient", "inputs"} and waits > 0:
        raise ValueError(
            f"task.prune_criterion {chosen} measures the encoder while it trains: expected "
            f"model.freeze_finetune_updates=0, found {waits}"
        )
    require_gradients(pruner, f"task.prune_criterion {chosen}", frozen, "task.")
