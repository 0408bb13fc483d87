"""Options: what the pruning options of a run mean, whichever trainer runs it.

``options`` is any object with these attributes: ``sparsity``, ``initial_sparsity``,
``sparsity_ramp``, ``ramp_updates``, ``prune_interval``, ``prune_interval_epochs``, ``adjust``,
``mask_file``, ``prune_criterion``, ``prune_rule``, ``prune_pattern``, ``prune_scope``,
``prune_bias``, ``learn_mask`` and ``score_init``.
"""

from enum import Enum
from typing import Any, Mapping, NamedTuple, Optional

from torch import nn

from .criterion import Criterion
from .initial_scores import initial_scores
from .mask import Mask
from .pathways import Pathways
from .pattern import parse_pattern
from .pruner import Pruner
from .registry import build_criterion, build_rule
from .rule import Rule
from .schedule import Schedule
from .scope import prunable_parameters
from .shared_subnetwork import SharedSubnetwork
from .subnetwork import Subnetwork


class Run(NamedTuple):
    """What pruning must know of a run.

    Attributes:
        updates: optimizer updates of the run; 0 means no limit.
        option: the option that sets them, for messages.
        seed: of random masks and scores.
        prefix: what stands before the names of the pruning options in messages.
    """

    updates: int
    option: str
    seed: int
    prefix: str = ""


def schedule_of(options: Any, run: Run) -> Schedule:
    """The schedule that the options describe.

    Raises:
        ValueError: an option is out of range; the message names it.
    """
    if options.learn_mask:
        _require_learnable(options, run.prefix)
    if options.prune_rule != "parp" and not options.adjust:
        raise ValueError(
            f"{run.prefix}prune_rule is {options.prune_rule!r} with {run.prefix}adjust=false, "
            f"which never re-prunes: expected {run.prefix}adjust=true, or parp"
        )
    by_epochs = options.prune_interval_epochs is not None and not options.learn_mask
    try:
        return Schedule(
            sparsity=options.sparsity,
            initial_sparsity=options.initial_sparsity,
            ramp=str(plain(options.sparsity_ramp)),
            ramp_updates=_ramp_updates(options, run),
            interval=None if by_epochs else 1 if options.learn_mask else options.prune_interval,
            epochs=options.prune_interval_epochs if by_epochs else None,
            updates=run.updates,
        )
    except ValueError as error:
        unlimited = options.ramp_updates is None and not run.updates
        hint = f"; without it, {run.option} must be set" if unlimited else ""
        raise ValueError(f"{run.prefix}{error}{hint}") from None


def require_ramp_ends(schedule: Schedule, run: Run) -> None:
    """Raise ValueError where the run ends before the sparsity has grown to the target."""
    if schedule.grows and 0 < run.updates < schedule.ramp_updates:
        raise ValueError(
            f"{run.prefix}ramp_updates is {schedule.ramp_updates}: expected at most {run.option}, "
            f"which is {run.updates}, or the run ends before it reaches sparsity "
            f"{schedule.sparsity}"
        )


def pruner_of(options: Any, model: nn.Module, schedule: Schedule, run: Run) -> Pruner:
    """The pruner of ``model`` that the options describe.

    Raises:
        ValueError: an option does not fit the model.
        OSError: there is no such mask file.
    """
    return _pruner_of(options, model, schedule, run, options.mask_file)


def pathways_of(
    options: Any,
    model: nn.Module,
    schedule: Schedule,
    run: Run,
    mask_files: Mapping[str, Optional[str]],
) -> Pathways:
    """The pruners of ``model`` that the options describe, one for each corpus.

    What is drawn from the seed of the run differs from corpus to corpus.

    Args:
        options, model, schedule, run: as of :func:`pruner_of`; ``mask_file`` is not read.
        mask_files: name of a corpus -> the file with its initial mask, or None.

    Raises:
        ValueError: an option does not fit the model.
        OSError: there is no such mask file.
    """
    params = prunable_parameters(model, options.prune_scope, options.prune_bias)
    shared = SharedSubnetwork(parse_pattern(options.prune_pattern).covered(params))
    pruners = {}
    for number, (corpus, mask_file) in enumerate(mask_files.items()):
        own = run._replace(seed=run.seed + number)
        pruners[corpus] = _pruner_of(options, model, schedule, own, mask_file, shared)
    return Pathways(pruners)


def _pruner_of(
    options: Any,
    model: nn.Module,
    schedule: Schedule,
    run: Run,
    mask_file: Optional[str],
    subnetwork: Optional[Subnetwork] = None,
) -> Pruner:
    params = prunable_parameters(model, options.prune_scope, options.prune_bias)
    pattern = parse_pattern(options.prune_pattern)
    scores = initial_scores(plain(options.score_init), run.seed) if options.learn_mask else None
    pruner = Pruner(
        params,
        schedule,
        criterion_of(options, run),
        pattern,
        options.adjust,
        rule=rule_of(options, run),
        initial_scores=scores,
        subnetwork=subnetwork,
    )
    if mask_file:
        mask = Mask.load(mask_file)
        try:
            pruner.start_from(mask)
        except ValueError as error:
            raise ValueError(f"mask file {mask_file}: {error}") from None
    return pruner


def criterion_of(options: Any, run: Run) -> Criterion:
    """The registered criterion of ``prune_criterion``; ValueError where there is none."""
    try:
        return build_criterion(options.prune_criterion, run.seed)
    except ValueError as error:
        raise ValueError(f"{run.prefix}prune_criterion: {error}") from None


def rule_of(options: Any, run: Run) -> Rule:
    """The registered rule of ``prune_rule``; ValueError where there is none."""
    try:
        return build_rule(options.prune_rule, run.seed)
    except ValueError as error:
        raise ValueError(f"{run.prefix}prune_rule: {error}") from None


def describe_untrained(
    pruner: Pruner, scope: str, untrained: Mapping[str, str], prefix: str = ""
) -> Optional[str]:
    """What to warn of where ``untrained`` holds parameters of the pruner that do not train.

    To a fixed mask it makes no difference. A mask that moves needs weights that train.

    Args:
        pruner: it has not started.
        scope: the option ``prune_scope``.
        untrained: name -> the reason why it is not trained.
        prefix: see :class:`Run`.

    Raises:
        ValueError: the mask moves.
    """
    if not untrained:
        return None
    name, reason = next(iter(untrained.items()))
    message = (
        f"{prefix}prune_scope={scope} covers {len(untrained)} of {len(pruner.params)} parameters "
        f"that are not trained, such as {name} ({reason})"
    )
    if pruner.adjust:
        raise ValueError(
            f"{message}: their mask would never change. Train them, choose a {prefix}prune_scope "
            f"without them, or keep the mask fixed with {prefix}adjust=false"
        )
    return f"{message}: they are pruned, and the rest of them stays as it is"


def require_gradients(
    pruner: Pruner, chosen: str, untrained: Mapping[str, str], prefix: str = ""
) -> None:
    """Raise ValueError where gradients are asked for that ``untrained`` parameters do not have.

    Args:
        pruner: it has not started.
        chosen: the criterion and the rule, for the message.
        untrained, prefix: see :func:`describe_untrained`.
    """
    if "gradient" in pruner.observer.asks and untrained:
        name, reason = next(iter(untrained.items()))
        raise ValueError(
            f"{chosen} needs the gradient of {name}, which is not trained ({reason}): train it, or "
            f"choose a {prefix}prune_scope without it"
        )


def plain(value: Any) -> Any:
    """``value``, as text where it is a member of an enum."""
    return str(value) if isinstance(value, Enum) else value


def _require_learnable(options: Any, prefix: str) -> None:
    """Raise ValueError where an option contradicts ``learn_mask``."""
    initial = options.initial_sparsity
    from_scores = "the initial mask comes from the scores (score_init)"
    for option, contradicts, expected in (
        ("sparsity", options.sparsity == 0, "a value above 0, or there is no mask to learn"),
        (
            "initial_sparsity",
            initial is not None and initial != options.sparsity,
            "null: a learned mask has one sparsity",
        ),
        ("adjust", not options.adjust, "true: a learned mask is no fixed one"),
        ("mask_file", options.mask_file, f"null: {from_scores}"),
        (
            "prune_criterion",
            options.prune_criterion != "magnitude",
            f"magnitude: {from_scores}",
        ),
        ("prune_rule", options.prune_rule != "parp", "parp: the mask follows the scores"),
    ):
        if contradicts:
            raise ValueError(
                f"{prefix}{option} is {plain(getattr(options, option))!r} with "
                f"{prefix}learn_mask=true: expected {expected}"
            )


def _ramp_updates(options: Any, run: Run) -> int:
    # Half: the recipes begin to lower the learning rate there, and the other half of the run trains
    # the subnetwork that is kept. The paper does not say where its ramp ends.
    return (run.updates + 1) // 2 if options.ramp_updates is None else options.ramp_updates
