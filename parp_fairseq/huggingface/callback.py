"""ParpCallback: PARP, and the other methods of this package, under ``transformers.Trainer``."""

import logging
from types import SimpleNamespace
from typing import Any, Dict, Mapping, Optional

from torch import nn
from torch.optim import Optimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from parp_fairseq.pruning import Mask, Pruner, Schedule, coverage, magnitude
from parp_fairseq.pruning.arguments import as_share
from parp_fairseq.pruning.family import family_called, model_types
from parp_fairseq.pruning.options import (
    Run,
    describe_untrained,
    pruner_of,
    require_gradients,
    require_ramp_ends,
    schedule_of,
)
from parp_fairseq.pruning.trainable import freeze_all_but
from parp_fairseq.pruning.training import PrunedTraining

from .attachment import Attachment, take_state, torch_optimizer
from .supported import require_supported, require_supported_optimizer, untrained

logger = logging.getLogger(__name__)


class ParpCallback(TrainerCallback):
    """Prunes the model of a ``Trainer`` while it is trained::

        trainer = Trainer(model, args, train_dataset=..., callbacks=[ParpCallback(sparsity=0.5)])
        trainer.train()
        trainer.save_model("sparse")

    From the start of ``train()`` on, evaluation and every saved checkpoint are the subnetwork at
    exactly ``sparsity``; while the model trains, pruned weights keep training too. At the end of
    ``train()`` the model is the subnetwork for good. With ``load_best_model_at_end`` it is that of
    the best checkpoint. A run that is resumed goes on to the same bits. Before ``train()`` the
    callback changes no weights.

    Updates are the Trainer's global steps. The Trainer's logs get ``sparsity``, ``mask_iou`` (IoU
    of the mask with the first one) and ``revived`` (share of the weights that the last re-prune
    brought back).

    The options are those of the fairseq task ``parp``.

    Args:
        sparsity: share of the prunable weights that is zero in the subnetwork, 0 <= sparsity < 1;
            0 trains exactly as the Trainer does alone.
        initial_sparsity: PARP-P: sparsity of the first prune, at most ``sparsity``, to which
            re-prunes raise it. None: ``sparsity`` from the start (PARP).
        sparsity_ramp: PARP-P: how the sparsity grows, ``linear`` or ``cubic`` (fast at first and
            slow near the end).
        ramp_updates: PARP-P: updates until ``sparsity`` is reached. None: half of the updates of
            the run.
        prune_interval: updates between two re-prunes. Steps of gradient accumulation do not count.
        prune_interval_epochs: epochs between two re-prunes; overrides ``prune_interval``.
        adjust: True: pruned weights keep training and re-prunes renew the mask (PARP). False: the
            first mask stays fixed (RP, MPI, OMP, IMP).
        mask_file: file with the initial mask: one that ``Mask.save`` or ``parp mask`` wrote, or a
            ``.pt`` of the paper's authors. None makes one from the weights at hand.
        prune_criterion: how weights are ranked, for the initial mask and for re-prunes:
            ``magnitude``, ``taylor``, ``movement``, ``fisher``, ``random`` (drawn from the seed of
            the training arguments; re-prunes then go by magnitude), or one that was registered with
            ``register_criterion``. One that measures inputs of layers, such as ``wanda``, cannot
            tell them from padding here and is refused.
        prune_rule: how a re-prune makes the next mask: ``parp``, ``rigl``, or one that was
            registered with ``register_rule``.
        prune_pattern: over which sets weights compete: ``global``, ``layerwise``, ``N:M`` such as
            ``2:4``, or ``ffn_channels``.
        prune_scope: what may be pruned: ``transformer`` (the matrices of attention and of the
            feed-forward layers), for speech encoders also ``feature_extractor`` and ``all``; the
            ``model_type`` of an architecture (``bert``, ``xlnet``, ``roberta``, ``distilbert``,
            ``wav2vec2``, ``hubert``, ``wavlm``, ``whisper``), which is ``transformer`` by the names
            of that architecture; or ``re:<regex>``, searched for in the names of parameters. None:
            the ``model_type`` in the model's config.
        prune_bias: whether biases inside the scope are pruned too.
        learn_mask: freeze the weights in the scope and train a score for each (S3-Router). The mask
            prunes the share ``sparsity`` with the lowest scores and is selected anew after every
            update. Pass the callback to the constructor of the Trainer then.
        score_init: initial scores of ``learn_mask``: ``rank``, ``magnitude`` or ``random``.
        trainable: which parameters of the encoder train, beside the head: ``all``, ``head`` (none
            of them), ``bias``, or ``re:<regex>``. None: ``all``; with ``learn_mask``, ``head``.

    Attributes:
        mask: mask of the last prune; after training, of the subnetwork that the model is. None
            before the first prune.

    Raises:
        ValueError: an option is out of range. The constructor of the Trainer raises it where the
            options do not fit the model, and ``train()`` where they do not fit the run, the
            optimizer or the checkpoint to resume from.
    """

    def __init__(
        self,
        sparsity: float = 0.5,
        *,
        initial_sparsity: Optional[float] = None,
        sparsity_ramp: str = "linear",
        ramp_updates: Optional[int] = None,
        prune_interval: int = 50,
        prune_interval_epochs: Optional[int] = None,
        adjust: bool = True,
        mask_file: Optional[str] = None,
        prune_criterion: str = "magnitude",
        prune_rule: str = "parp",
        prune_pattern: str = "global",
        prune_scope: Optional[str] = None,
        prune_bias: bool = True,
        learn_mask: bool = False,
        score_init: str = "rank",
        trainable: Optional[str] = None,
    ):
        options = {name: value for name, value in locals().items() if name != "self"}
        options["sparsity"] = as_share("sparsity", sparsity)
        if initial_sparsity is not None:
            options["initial_sparsity"] = as_share("initial_sparsity", initial_sparsity)
        if score_init not in ("rank", "magnitude", "random"):
            raise ValueError(f"score_init is {score_init!r}: expected rank, magnitude or random")
        # The number of updates is not known yet. A ramp of one update stands for any.
        schedule_of(SimpleNamespace(**options), Run(2, "max_steps", 0))
        self.options: Dict[str, Any] = options
        self.training: Optional[PrunedTraining] = None
        self._attachment: Optional[Attachment] = None
        self._mask: Optional[Mask] = None
        self._stepping: Any = None

    @property
    def pruner(self) -> Optional[Pruner]:
        """What prunes the model in the training that goes on, or was the last."""
        return None if self.training is None else self.training.pruner

    @property
    def mask(self) -> Optional[Mask]:
        if self._mask is not None or self.pruner is None:
            return self._mask
        return self.pruner.mask

    # Events of the Trainer ----------------------------------------------------------------------

    def on_init_end(self, args, state, control, model=None, **_) -> None:
        if model is None:
            return
        require_supported(args, model)
        # What does not fit the model is an error now. Weights may still be loaded over these, so
        # nothing is pruned yet.
        options = self._options_for(model)
        run = Run(max(2, args.max_steps), "max_steps", args.seed)
        _require_measurable(pruner_of(options, model, schedule_of(options, run), run), options, {})
        _choose_trainable(model, options)  # before there is an optimizer

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module = None,
        optimizer: Optimizer = None,
        **_,
    ) -> None:
        self._let_go()  # of a training that was interrupted
        require_supported(args, model)
        require_supported_optimizer(optimizer)
        saved = take_state(optimizer)
        options, run = self._options_for(model), Run(state.max_steps, "max_steps", args.seed)
        schedule = schedule_of(options, run)
        require_ramp_ends(schedule, run)
        decides = _deciding(options, schedule)
        if state.global_step > 0:
            _require_same_run(decides, saved)
        else:
            saved = None  # of a training that was interrupted in this process
        _choose_trainable(model, options)
        pruner = pruner_of(options, model, schedule, run)
        self._mask, self.training = None, PrunedTraining(pruner, state.max_steps)
        if not pruner.prunes:
            return
        not_trained = untrained(optimizer, pruner.params)
        if warning := describe_untrained(pruner, options.prune_scope, not_trained):
            logger.warning(warning)
        _require_measurable(pruner, options, not_trained)
        logger.info(coverage(model, options.prune_scope, options.prune_bias))
        if saved is not None:
            pruner.load(saved["pruner"])
        self.training.begin(state.global_step, _epoch(state))
        self._attachment = Attachment(model, optimizer, self.training, decides)

    def on_epoch_begin(self, args, state, control, **_) -> None:
        if self._attachment is not None:
            self.pruner.restore()  # after an evaluation the model is still in eval()
            self.training.begin_epoch(_epoch(state))

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **_) -> None:
        if self._attachment is not None:
            update, params = state.global_step + 1, self.pruner.params
            if self.pruner.measures_after(update):
                states = torch_optimizer(optimizer).state
                self.pruner.measure(
                    update,
                    {name: param.grad for name, param in params.items()},
                    {name: states.get(param, {}) for name, param in params.items()},
                )
            self._stepping = self.training.stepping()
            self._stepping.__enter__()

    def on_optimizer_step(self, args, state, control, **_) -> None:
        if self._attachment is not None:
            self._end_step()
            self._attachment.loaded = False
            self.training.updated(state.global_step + 1)

    def on_save(self, args, state, control, **_) -> None:
        if self._attachment is not None:
            self.training.log.saves()

    def on_log(self, args, state, control, logs=None, **_) -> None:
        if self._attachment is None or not self.pruner.started or "loss" not in logs:
            return
        metrics = self.training.log.metrics()
        values = {name: metrics[name] for name in ("sparsity", "mask_iou", "revived")}
        logs.update(values)
        state.log_history[-1].update(values)  # the Trainer has put a copy of the logs there

    def on_train_end(self, args, state, control, **_) -> None:
        if self._attachment is None:
            return
        if not self._attachment.loaded:
            self.pruner.finish()
            self._mask = self.pruner.mask
        else:  # the best checkpoint, which is sparse
            self.pruner.subnetwork.end()
            pattern, schedule = self.pruner.pattern, self.pruner.schedule
            self._mask = Mask(pattern(self.pruner.params, magnitude, schedule.sparsity))
        self._attachment.remove()
        self._attachment = None

    # --------------------------------------------------------------------------------------------

    def _end_step(self) -> None:
        if self._stepping is not None:
            self._stepping.__exit__(None, None, None)
            self._stepping = None

    def _let_go(self) -> None:
        self._end_step()  # where memory ran out in the optimizer
        if self._attachment is not None:
            self.pruner.restore()
            self.pruner.subnetwork.end()
            self._attachment.remove()
            self._attachment = None

    def _options_for(self, model: nn.Module) -> SimpleNamespace:
        """The options, with the scope that they mean for ``model``."""
        scope = self.options["prune_scope"]
        return SimpleNamespace(**{**self.options, "prune_scope": scope or _scope_of(model)})


def _choose_trainable(model: nn.Module, options: SimpleNamespace) -> None:
    trainable = options.trainable or ("head" if options.learn_mask else "all")
    if trainable == "all":
        return
    covered = coverage(model, options.prune_scope, options.prune_bias)
    encoder = {**covered.covered, **covered.left_out}
    freeze_all_but(encoder, trainable, covered.covered if options.learn_mask else {})


def _require_measurable(pruner: Pruner, options: SimpleNamespace, untrained: Mapping) -> None:
    """Raise ValueError where the run cannot give criterion and rule what they ask for."""
    chosen = f"prune_criterion {options.prune_criterion} with prune_rule {options.prune_rule}"
    if "inputs" in pruner.observer.asks:
        raise ValueError(
            f"{chosen} measures the inputs of layers, which ParpCallback cannot tell from padding: "
            "expected a criterion and a rule that do not"
        )
    require_gradients(pruner, chosen, untrained)


def _deciding(options: SimpleNamespace, schedule: Schedule) -> Dict[str, Any]:
    """What decides the masks of a run, as plain values."""
    decides = {name: value for name, value in vars(options).items() if name != "mask_file"}
    if schedule.grows:
        decides["ramp_updates"] = schedule.ramp_updates
    return decides


def _scope_of(model: nn.Module) -> str:
    """The ``model_type`` of a model, if it is a scope.

    Raises:
        ValueError: it is not.
    """
    found = getattr(getattr(model, "config", None), "model_type", None)
    if family_called(found) is None:
        raise ValueError(
            f"the model ({type(model).__name__}) has the model_type {found!r}, for which there is "
            f"no scope: expected one of {', '.join(model_types())}, or prune_scope='re:<regex>', "
            "searched for in the names of its parameters"
        )
    return found


def _require_same_run(decides: Dict[str, Any], saved: Optional[Dict[str, Any]]) -> None:
    """Raise ValueError where a run cannot go on from the checkpoint that was loaded."""
    anew = (
        "to begin anew from its weights, load them with from_pretrained and call train() without "
        "resume_from_checkpoint"
    )
    if saved is None:
        if decides["sparsity"] > 0:
            raise ValueError(
                "the checkpoint holds no state of ParpCallback: expected one that was saved with "
                f"the callback and with the state of the optimizer (save_only_model=False); {anew}"
            )
        return
    for name, value in saved["options"].items():
        if name in decides and decides[name] != value:
            raise ValueError(
                f"{name} is {decides[name]!r}, but the run to be resumed has {value!r}: give back "
                f"what it had; {anew}"
            )


def _epoch(state: TrainerState) -> int:
    """The epoch that begins or goes on, from 1."""
    return int(state.epoch) + 1
