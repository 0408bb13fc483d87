"""The options of the task ``parp``, and the pruner that they describe."""

import logging
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Callable, Dict, Mapping, Optional

from fairseq.dataclass import ChoiceEnum
from fairseq.tasks.audio_finetuning import AudioFinetuningConfig
from omegaconf import II
from torch import nn

from parp_fairseq.pruning import (
    Mask,
    Pruner,
    Schedule,
    build_criterion,
    build_rule,
    initial_scores,
    parse_pattern,
    prunable_parameters,
)

from .decoding import DECODING_OPTIONS, DecodingConfig
from .frozen import frozen_parameters
from .trainable import train_only

logger = logging.getLogger(__name__)


@dataclass
class ParpConfig(DecodingConfig, AudioFinetuningConfig):
    """The options of ``audio_finetuning``, and those of pruning and decoding."""

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
            "1; 0 finetunes the whole network exactly as the stock task audio_finetuning does"
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
            "help": "which parameters train, beside the CTC head and the scores of `learn_mask`: "
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


PRUNING_OPTIONS = [
    option.name
    for option in fields(ParpConfig)
    if option.metadata.get("help")
    and option.name not in DECODING_OPTIONS.union(AudioFinetuningConfig.__dataclass_fields__)
]


def build_schedule(cfg: ParpConfig) -> Schedule:
    """The schedule that the options describe.

    Raises:
        ValueError: an option is out of range; the message names it.
    """
    if cfg.learn_mask:
        _require_learnable(cfg)
    if cfg.prune_rule != "parp" and not cfg.adjust:
        raise ValueError(
            f"task.prune_rule is {cfg.prune_rule!r} with task.adjust=false, which never re-prunes: "
            "expected task.adjust=true, or parp"
        )
    by_epochs = cfg.prune_interval_epochs is not None and not cfg.learn_mask
    try:
        return Schedule(
            sparsity=cfg.sparsity,
            initial_sparsity=cfg.initial_sparsity,
            ramp=str(cfg.sparsity_ramp),
            ramp_updates=_ramp_updates(cfg),
            interval=None if by_epochs else 1 if cfg.learn_mask else cfg.prune_interval,
            epochs=cfg.prune_interval_epochs if by_epochs else None,
            updates=cfg.max_update,
        )
    except ValueError as error:
        unlimited = cfg.ramp_updates is None and not cfg.max_update
        hint = "; without it, optimization.max_update must be set" if unlimited else ""
        raise ValueError(f"task.{error}{hint}") from None


def _require_learnable(cfg: ParpConfig) -> None:
    """Raise ValueError where an option contradicts ``learn_mask``."""
    grows = cfg.initial_sparsity is not None and cfg.initial_sparsity != cfg.sparsity
    for option, contradicts, expected in (
        ("sparsity", cfg.sparsity == 0, "a value above 0, or there is no mask to learn"),
        ("initial_sparsity", grows, "null: a learned mask has one sparsity"),
        ("adjust", not cfg.adjust, "true: a learned mask is no fixed one"),
        ("mask_file", cfg.mask_file, "null: the initial mask comes from the scores (score_init)"),
        (
            "prune_criterion",
            cfg.prune_criterion != "magnitude",
            "magnitude: the initial mask comes from the scores (score_init)",
        ),
        ("prune_rule", cfg.prune_rule != "parp", "parp: the mask follows the scores"),
    ):
        if contradicts:
            raise ValueError(
                f"task.{option} is {_plain(cfg[option])!r} with task.learn_mask=true: expected "
                f"{expected}"
            )


def _ramp_updates(cfg: ParpConfig) -> int:
    # Half: the recipes begin to lower the learning rate there, and the other half of the run trains
    # the subnetwork that is kept. The paper does not say where its ramp ends.
    return (cfg.max_update + 1) // 2 if cfg.ramp_updates is None else cfg.ramp_updates


def pruning_options(cfg: ParpConfig) -> Dict[str, Any]:
    """The pruning options as plain values; for a growing sparsity, with the length of its ramp."""
    options = {name: cfg[name] for name in PRUNING_OPTIONS}
    schedule = build_schedule(cfg)
    if schedule.grows:
        options["ramp_updates"] = schedule.ramp_updates
    return {name: _plain(value) for name, value in options.items()}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Enum) else value


def build_pruner(cfg: ParpConfig, model: nn.Module) -> Pruner:
    """The pruner of ``model`` that the options describe.

    Raises:
        ValueError: an option does not fit the model or the run; the message names it.
    """
    schedule = build_schedule(cfg)
    if schedule.grows and 0 < cfg.max_update < schedule.ramp_updates:
        raise ValueError(
            f"task.ramp_updates is {schedule.ramp_updates}: expected at most "
            f"optimization.max_update, which is {cfg.max_update}, or the run ends before it "
            f"reaches sparsity {cfg.sparsity}"
        )
    params = prunable_parameters(model, cfg.prune_scope, cfg.prune_bias)
    pattern = parse_pattern(cfg.prune_pattern)
    scores = initial_scores(str(cfg.score_init), cfg.seed) if cfg.learn_mask else None
    pruner = Pruner(
        params,
        schedule,
        _registered("prune_criterion", build_criterion, cfg),
        pattern,
        cfg.adjust,
        rule=_registered("prune_rule", build_rule, cfg),
        initial_scores=scores,
    )
    if cfg.mask_file:
        mask = Mask.load(cfg.mask_file)
        try:
            pruner.start_from(mask)
        except ValueError as error:
            raise ValueError(f"mask file {cfg.mask_file}: {error}") from None
    trainable = cfg.trainable or ("head" if cfg.learn_mask else "all")
    train_only(model, trainable, pruner.params if cfg.learn_mask else {})
    if pruner.prunes:
        frozen = frozen_parameters(model, pruner.params, cfg.max_update, cfg.trainable)
        _check_frozen(cfg, pruner, frozen)
        _require_measurable(cfg, pruner, model, frozen)
        pruner.observer.watch(model)
    return pruner


def require_registered(cfg: ParpConfig) -> None:
    """Raise ValueError where no criterion or rule has the name that the options give."""
    _registered("prune_criterion", build_criterion, cfg)
    _registered("prune_rule", build_rule, cfg)


def _registered(option: str, build: Callable[[str, int], Any], cfg: ParpConfig) -> Any:
    try:
        return build(cfg[option], cfg.seed)
    except ValueError as error:
        raise ValueError(f"task.{option}: {error}") from None


def _require_measurable(
    cfg: ParpConfig, pruner: Pruner, model: nn.Module, frozen: Mapping[str, str]
) -> None:
    """Raise ValueError where a run cannot give the criterion and the rule what they ask for."""
    asks, chosen = pruner.observer.asks, f"{cfg.prune_criterion} with rule {cfg.prune_rule}"
    if "progress" in asks and cfg.max_update <= 0:
        raise ValueError(
            f"task.prune_rule is {cfg.prune_rule!r}, which follows the length of the run: expected "
            f"optimization.max_update above 0, found {cfg.max_update}"
        )
    waits = model.w2v_encoder.freeze_finetune_updates
    if asks & {"gradient", "inputs"} and waits > 0:
        raise ValueError(
            f"task.prune_criterion {chosen} measures the encoder while it trains: expected "
            f"model.freeze_finetune_updates=0, found {waits}"
        )
    if "gradient" in asks and frozen:
        name, reason = next(iter(frozen.items()))
        raise ValueError(
            f"task.prune_criterion {chosen} needs the gradient of {name}, which is not trained "
            f"({reason}): train it, or choose a task.prune_scope without it"
        )


def _check_frozen(cfg: ParpConfig, pruner: Pruner, frozen: Mapping[str, str]) -> None:
    """A mask that moves needs weights that train; to a fixed one it makes no difference."""
    if not frozen:
        return
    name, reason = next(iter(frozen.items()))
    message = (
        f"task.prune_scope={cfg.prune_scope} covers {len(frozen)} of {len(pruner.params)} "
        f"parameters that are not trained, such as {name} ({reason})"
    )
    if pruner.adjust:
        raise ValueError(
            f"{message}: their mask would never change. Train them, choose a task.prune_scope "
            "without them, or keep the mask fixed with task.adjust=false"
        )
    logger.warning(f"{message}: they are pruned, and the rest of them stays as it is")
