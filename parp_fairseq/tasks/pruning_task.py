"""PruningTask: what a task of fairseq does to prune the model that it trains."""

import logging
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any, ContextManager, Dict, Iterable, Iterator, Optional, Tuple

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from fairseq.optim.amp_optimizer import AMPOptimizer

from parp_fairseq.models.reproducible_masking import set_generator_state
from parp_fairseq.pruning import Pruner, coverage
from parp_fairseq.pruning.training import PrunedTraining

from . import prefetching  # noqa: F401  (ends fairseq's threads before the interpreter)
from .agreement import require_same_start
from .identity import config_of_run, identity_in, identity_of, require_same_run
from .master_weights import all_masters, master_weights, restore_masters
from .measurements import measure, optimizer_states
from .options import (
    PruningConfig,
    build_pruner,
    build_schedule,
    pruning_options,
    require_registered,
)
from .presets import require_method
from .recovery import mend_last_checkpoint
from .refusals import refusals, report_in_one_line
from .resuming import Former, end_before_training, find_former, has_finished, require_resumable
from .signals import Stop, was_told_to_stop
from .supported import require_supported, require_supported_optimizer

logger = logging.getLogger(__name__)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ArgumentTypeError(f"expected true or false, found {text!r}")
    return text.lower() == "true"


class PruningTask:
    """Mixin, in front of a task of fairseq whose model is :class:`models.masked.Masked`.

    Trainer, optimizers and criterion stay stock. A task says what is its own with the methods
    below ``add_args``.
    """

    cfg: PruningConfig

    def __init__(self, cfg: PruningConfig, *args):
        super().__init__(cfg, *args)
        report_in_one_line()
        with refusals():  # options out of range are reported before anything is loaded
            self.require_options()
        self.pruner: Optional[Pruner] = None
        self.training: Optional[PrunedTraining] = None
        self.identity: Dict[str, Any] = {}
        self.stop: Optional[Stop] = None
        self.train_batches = None
        self.epoch = 1
        self.has_begun = False

    @classmethod
    def add_args(cls, parser: ArgumentParser):
        # fairseq turns a bool that is true by default into a flag that says false: `--adjust` would
        # switch adjusting off. It leaves alone what the parser has already.
        for option in fields(PruningConfig):
            if option.name in ("adjust", "prune_bias"):
                parser.add_argument(
                    "--" + option.name.replace("_", "-"),
                    type=_boolean,
                    default=option.default,
                    metavar="BOOL",
                    help=option.metadata["help"],
                )
        super().add_args(parser)

    def require_options(self) -> None:
        """Raise ValueError or OSError where an option is wrong."""
        build_schedule(self.cfg)
        require_method(pruning_options(self.cfg))

    def require_model(self, model_cfg, trains: bool) -> None:
        """Raise ValueError or OSError where the task cannot train or evaluate such a model."""

    def data_digests(self) -> Iterable[Tuple[str, str]]:
        """Names of :mod:`identity` and digests of the training data."""
        return ()

    def make_pruner(self, model) -> Pruner:
        """The pruner of the model that is trained."""
        return build_pruner(self.cfg, model)

    def make_training(self) -> PrunedTraining:
        """What drives the pruner."""
        group = distributed_utils.get_data_parallel_group
        return PrunedTraining(self.pruner, self.cfg.max_update, group)

    def require_former(self, former: Former) -> None:
        """Raise ValueError where the data do not fit the checkpoint that training starts from."""

    def build_model(self, model_cfg, from_checkpoint: bool = False):
        trains = not from_checkpoint  # evaluation loads a network that is pruned already
        config = config_of_run(self.cfg) if trains else None
        with refusals():
            self.require_model(model_cfg, trains)
            if trains:
                self._require_supported_parallelism()
                require_registered(self.cfg)
            if config is not None:
                require_supported(config)
        model = super().build_model(model_cfg, from_checkpoint)
        if trains:
            with refusals():
                self.model = model
                self.pruner = model.pruner = self.make_pruner(model)
                if self.pruner.prunes:
                    logger.info(coverage(model, self.cfg.prune_scope, self.cfg.prune_bias))
                self.training = self.make_training()
                model.options = pruning_options(self.cfg)
                self.identity = model.identity = identity_of(
                    self.cfg, model.options, self.data_digests()
                )
            self._judge_former_run(config)
            self.stop = Stop()
        return model

    def _judge_former_run(self, config) -> None:
        """Refuse a checkpoint that this run cannot go on from, and end a run that is finished."""
        if was_told_to_stop():
            raise SystemExit("SIGTERM ended the run before this one")
        with refusals():
            if distributed_utils.get_global_rank() == 0:
                mend_last_checkpoint(Path(self.cfg.save_dir))
        former = None
        with refusals():  # after rank 0 has mended it
            if config is not None:
                former = find_former(config.checkpoint)
            if former is not None:
                self.require_former(former)
                require_resumable(former, self.identity, config)
        if former is not None and has_finished(former, config.optimization):
            end_before_training(former, config)

    def _trains_on(self, split: str) -> bool:
        return self.pruner is not None and split == self.cfg.train_subset

    def _require_supported_parallelism(self) -> None:
        backend, zero = self.cfg.ddp_backend, self.cfg.zero_sharding
        if backend == "fully_sharded" or zero != "none":
            raise ValueError(
                "task parp ranks all weights together and cannot train them in shards: expected "
                "another distributed_training.ddp_backend than fully_sharded and zero_sharding "
                f"none, found {backend} and {zero}"
            )
        several = distributed_utils.get_global_world_size() > 1
        if several and not self.cfg.load_checkpoint_on_all_dp_ranks:
            # Otherwise one rank loads, and fairseq sends the others (and itself) the state without
            # the metadata that holds the weights under the mask.
            raise ValueError(
                "training on several ranks needs checkpoint.load_checkpoint_on_all_dp_ranks=true "
                "to resume exactly, found false"
            )

    # Pruning -----------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int, model):
        super().begin_epoch(epoch, model)
        self.epoch = epoch

    def train_step(
        self, sample, model, criterion, optimizer, update_num: int, ignore_grad: bool = False
    ):
        # The first prune waits for the first update: only then is loaded what there is to load, and
        # the optimizer holds its own copies of the weights.
        if not self.has_begun:
            self._begin(optimizer, update_num)
        self.training.begin_epoch(self.epoch)
        batch = self.training.batch(sample.get("corpus"))
        with batch, self._counting_inputs(counts=not ignore_grad):
            output = super().train_step(
                sample, model, criterion, optimizer, update_num, ignore_grad
            )
        self.training.mask_gradients()
        loss, sample_size, logging_output = output
        logging_output["_stop"] = int(self.stop.requested)
        return loss, sample_size, logging_output

    def optimizer_step(self, optimizer, model, update_num: int):
        if self.pruner.measures_after(update_num + 1):
            measure(self.pruner, optimizer, update_num + 1)
        with self.training.stepping():
            stepped = self._step(optimizer, model, update_num)
        if not stepped:
            return
        if self.training.starts_late:
            with refusals(), self._hint_at_sparsity():
                self.training.updated(update_num + 1)
        else:
            self.training.updated(update_num + 1)

    def _step(self, optimizer, model, update_num: int) -> bool:
        """The stock optimizer step; returns whether the weights were updated."""
        if not isinstance(optimizer, AMPOptimizer):
            super().optimizer_step(optimizer, model, update_num)
            return True
        # fairseq's AMP unscales the gradients of optimizer.optimizer to clip them, and then steps
        # with optimizer.fp32_optimizer, for which the scaler unscales the same gradients again.
        scaler, scale = optimizer.scaler, optimizer.scaler.get_scale()
        scaler.step(optimizer.optimizer)
        scaler.update()
        return scaler.get_scale() >= scale  # fairseq calls this after an overflow too

    def _counting_inputs(self, counts: bool) -> ContextManager[None]:
        inputs = self.pruner.observer.inputs
        if inputs is None:
            return nullcontext()
        # fairseq sets all gradients to None before the first batch of an update, and nowhere else.
        anew = all(param.grad is None for param in self.model.parameters())
        return inputs.counting(anew, counts)

    def _begin(self, optimizer, update_num: int) -> None:
        with refusals():
            require_supported_optimizer(optimizer)
            resumed = self._resume_or_start(optimizer, update_num)
        require_same_start(update_num, resumed, self.pruner.mask)
        # Last of all: where memory runs out before, fairseq goes on, and it has to begin again.
        self.model.resumable = None
        self.has_begun = self.stop.training = True

    def _resume_or_start(self, optimizer, update_num: int) -> bool:
        """Returns whether a former run goes on."""
        resumable = self.model.resumable
        self.training.masters = lambda: master_weights(optimizer, self.pruner.params)
        self.training.states = lambda: optimizer_states(optimizer, self.pruner.params)
        self.model.masters = all_masters(optimizer)
        resumes = update_num > 0 and resumable is not None
        if resumes:
            require_same_run(self.identity, identity_in(resumable), "the loaded checkpoint")
            set_generator_state(resumable["generator"])
            if "pruner" in resumable:
                self.pruner.load(resumable["pruner"], self.training.masters())
            with self.pruner.subnetwork.stepping():  # masters may be scores, as in a step
                restore_masters(optimizer, resumable["masters"])
        with self._hint_at_sparsity():
            self.training.begin(update_num, self.epoch)
        return resumes

    @contextmanager
    def _hint_at_sparsity(self) -> Iterator[None]:
        """What to do where the initial mask leaves nothing of a weight matrix."""
        try:
            yield
        except ValueError as error:
            if self.pruner.initial_mask is not None and self.pruner.initial_mask.emptied:
                layerwise = self.cfg.prune_pattern == "global"
                hint = ", or task.prune_pattern=layerwise" if layerwise else ""
                raise ValueError(f"{error}: expected a lower task.sparsity{hint}") from None
            raise

    def state_dict(self):
        """fairseq asks for it when it writes a checkpoint."""
        if self.training is not None:
            self.training.log.saves()
        return super().state_dict()

    def reduce_metrics(self, logging_outputs, criterion):
        super().reduce_metrics(logging_outputs, criterion)
        if criterion.training and any(log.get("_stop", 0) for log in logging_outputs):
            self.stop.end(
                config_of_run(self.cfg), self.training.log.update, self.train_batches.end_of_epoch()
            )
        if criterion.training and self.pruner is not None and self.pruner.started:
            for name, value in self.training.log.metrics().items():
                metrics.log_scalar(name, value, weight=0, priority=600, round=4)

    # Batches -----------------------------------------------------------------------------------

    def get_batch_iterator(self, dataset, *args, **kwargs):
        """As in fairseq; except for training, every example is in some batch."""
        if self.pruner is not None and dataset is self.datasets.get(self.cfg.train_subset):
            self.train_batches = super().get_batch_iterator(dataset, *args, **kwargs)
            return self.train_batches
        # fairseq 0.12.3 drops the last batch when its size is no multiple of this.
        kwargs["required_batch_size_multiple"] = 1
        # fairseq-generate is a single process, and yet takes a shard for each GPU that it sees.
        if not torch.distributed.is_initialized():
            kwargs.update(num_shards=1, shard_id=0)
        return super().get_batch_iterator(dataset, *args, **kwargs)
