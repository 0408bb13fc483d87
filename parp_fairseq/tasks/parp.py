"""The task ``parp``: ``audio_finetuning`` that prunes as it trains and scores every utterance."""

import logging
import time
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any, ContextManager, Dict, Optional

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from fairseq.optim.amp_optimizer import AMPOptimizer
from fairseq.tasks import register_task
from fairseq.tasks.audio_finetuning import AudioFinetuningTask

from parp_fairseq.decoding import CtcGenerator
from parp_fairseq.models.encoder_file import require_ctc, require_encoder
from parp_fairseq.models.parp_wav2vec_ctc import ParpWav2VecCtc
from parp_fairseq.models.reproducible_masking import set_generator_state
from parp_fairseq.pruning import Pruner, coverage

from . import prefetching  # noqa: F401  (ends fairseq's threads before the interpreter)
from .agreement import failing_together, require_agreement, require_same_start
from .audio_headers import shortest_clip
from .corpora import options_for
from .decoding import build_generator, lm_path_of
from .dictionary import load_dictionary, require_same_dictionary
from .identity import config_of_run, identity_in, identity_of, require_same_run
from .labels import require_data, require_split
from .language_model_file import require_language_model
from .master_weights import all_masters, master_weights, restore_masters
from .measurements import measure
from .options import (
    ParpConfig,
    build_pruner,
    build_schedule,
    pruning_options,
    require_registered,
)
from .presets import require_method
from .prune_log import PruneLog
from .recovery import mend_last_checkpoint
from .refusals import refusals, report_in_one_line
from .resuming import end_before_training, find_former, has_finished, require_resumable
from .signals import Stop, was_told_to_stop
from .supported import require_supported, require_supported_optimizer

logger = logging.getLogger(__name__)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ArgumentTypeError(f"expected true or false, found {text!r}")
    return text.lower() == "true"


def _convolutions(model):
    """(channels, width, stride) of each convolution of the encoder's feature extractor."""
    layers = model.w2v_encoder.w2v_model.feature_extractor.conv_layers
    convolutions = [layer[0] for layer in layers]
    return [(conv.out_channels, conv.kernel_size[0], conv.stride[0]) for conv in convolutions]


@register_task("parp", dataclass=ParpConfig)
class ParpTask(AudioFinetuningTask):
    """Finetunes ``parp_wav2vec_ctc`` under a mask. Trainer, optimizers and criterion stay stock."""

    cfg: ParpConfig

    def __init__(self, cfg: ParpConfig):
        super().__init__(cfg)
        report_in_one_line()
        with refusals():  # options out of range are reported before anything is loaded
            require_data(cfg)
            build_schedule(cfg)
            require_method(pruning_options(cfg))
        self.pruner: Optional[Pruner] = None
        self.prune_log: Optional[PruneLog] = None
        self.identity: Dict[str, Any] = {}
        self.stop: Optional[Stop] = None
        self.shortest_clip = 400  # samples, of wav2vec 2.0; the model at hand may need others
        self.train_batches = None
        self.epoch = 1
        self.has_begun = False
        self.num_utterances = 0  # in the split that is evaluated

    @classmethod
    def add_args(cls, parser: ArgumentParser):
        # fairseq turns a bool that is true by default into a flag that says false: `--adjust` would
        # switch adjusting off. It leaves alone what the parser has already.
        for option in fields(ParpConfig):
            if option.name in ("adjust", "prune_bias"):
                parser.add_argument(
                    "--" + option.name.replace("_", "-"),
                    type=_boolean,
                    default=option.default,
                    metavar="BOOL",
                    help=option.metadata["help"],
                )
        super().add_args(parser)

    def build_model(self, model_cfg, from_checkpoint: bool = False):
        trains = not from_checkpoint  # evaluation loads a network that is pruned already
        config = config_of_run(self.cfg) if trains else None
        with refusals():
            require_ctc(model_cfg)
            require_encoder(model_cfg)
            if trains:
                self._require_supported_parallelism()
                require_registered(self.cfg)
            if config is not None:
                require_supported(config)
        model = super().build_model(model_cfg, from_checkpoint)
        self.shortest_clip = shortest_clip(_convolutions(model))
        if trains:
            with refusals():
                if not isinstance(model, ParpWav2VecCtc):
                    raise ValueError(
                        f"task parp trains the model parp_wav2vec_ctc, found {type(model).__name__}"
                    )
                self.model = model
                self.pruner = model.pruner = build_pruner(self.cfg, model)
                if self.pruner.prunes:
                    logger.info(coverage(model, self.cfg.prune_scope, self.cfg.prune_bias))
                self.prune_log = PruneLog(self.pruner)
                model.options = pruning_options(self.cfg)
                self.identity = model.identity = identity_of(self.cfg, model.options)
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
                require_same_dictionary(
                    self.dictionary_file, self.target_dictionary, former.dictionary, former.path
                )
                require_resumable(former, self.identity, config)
        if former is not None and has_finished(former, config.optimization):
            end_before_training(former, config)

    @property
    def dictionary_file(self) -> Path:
        folder = getattr(self.cfg, "target_dictionary", None) or self.cfg.data
        return Path(folder) / f"dict.{self.cfg.labels}.txt"

    def load_target_dictionary(self):
        with refusals():
            if not self.cfg.labels:
                raise ValueError(
                    "task.labels is null: expected the suffix of the label files, as ltr"
                )
            return load_dictionary(self.dictionary_file)

    def load_state_dict(self, state_dict: Dict[str, Any]):
        """Take up what a checkpoint holds; not called on resume, where fairseq leaves it out."""
        with refusals():
            if self.cfg.labels and self.dictionary_file.is_file():  # else there is no such data
                ours = load_dictionary(self.dictionary_file)
                theirs = state_dict.get("target_dictionary")
                require_same_dictionary(self.dictionary_file, ours, theirs, "the checkpoint")
        super().load_state_dict(state_dict)

    def load_dataset(self, split: str, task_cfg=None, **kwargs):
        with refusals():
            cfg = options_for(split, task_cfg or self.cfg, self._trains_on(split))
            require_split(
                Path(self.cfg.data), split, cfg, self.target_dictionary, self.shortest_clip,
                self._trains_on(split),
            )  # fmt: skip
            require_language_model(lm_path_of(self.cfg), self.cfg.data)
        super().load_dataset(split, cfg, **kwargs)

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
        if self._prunes_before_epoch():
            self._prune(optimizer, update_num)
            self.pruner.pruned_in_epoch = self.epoch
        with self._counting_inputs(counts=not ignore_grad):
            output = super().train_step(
                sample, model, criterion, optimizer, update_num, ignore_grad
            )
        if self.pruner.fixed and not self._measures_gradients(update_num):
            self.pruner.mask_gradients()
        loss, sample_size, logging_output = output
        logging_output["_stop"] = int(self.stop.requested)
        return loss, sample_size, logging_output

    def optimizer_step(self, optimizer, model, update_num: int):
        if self.pruner.measures_after(update_num + 1):
            measure(self.pruner, optimizer, update_num + 1)
        with self.pruner.subnetwork.stepping():
            stepped = self._step(optimizer, model, update_num)
        if not stepped:
            return
        done = self.prune_log.update = self.pruner.updates = update_num + 1
        if self.pruner.fixed:
            self.pruner.enforce(master_weights(optimizer, self.pruner.params))
        if self.pruner.prunes and not self.pruner.started:
            self._start_late(optimizer, done)
        elif self._adjusts and self.pruner.schedule.due_after_update(done):
            self._prune(optimizer, done)
        if self.pruner.started and done == self.cfg.max_update:
            self.prune_log.ends()

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

    @property
    def _adjusts(self) -> bool:
        return self.pruner.prunes and self.pruner.adjust

    def _prunes_before_epoch(self) -> bool:
        schedule, pruned_in = self.pruner.schedule, self.pruner.pruned_in_epoch
        due = schedule.due_before_epoch(self.epoch, pruned_in)
        return due and self._adjusts and self.pruner.started

    def _measures_gradients(self, update_num: int) -> bool:
        """Whether this update needs the gradients of pruned weights that stay zero."""
        asks = "gradient" in self.pruner.observer.asks
        return asks and self.pruner.measures_after(update_num + 1)

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
        masters = master_weights(optimizer, self.pruner.params)
        self.model.masters = all_masters(optimizer)
        resumes = update_num > 0 and resumable is not None
        if resumes:
            require_same_run(self.identity, identity_in(resumable), "the loaded checkpoint")
            set_generator_state(resumable["generator"])
            if "pruner" in resumable:
                self.pruner.load(resumable["pruner"], masters)
            with self.pruner.subnetwork.stepping():  # masters may be scores, as in a step
                restore_masters(optimizer, resumable["masters"])
        if self.pruner.prunes and not self.pruner.started and self.pruner.may_start:
            self._start(masters, update_num)
        self.prune_log.update = self.pruner.updates = update_num
        return resumes

    def _start_late(self, optimizer, update: int) -> None:
        """Make the initial mask once the criterion has measured all that it needs."""
        if not self.pruner.may_start:
            return
        with refusals():
            self._start(master_weights(optimizer, self.pruner.params), update)
        require_agreement(self.pruner.mask, self._device())

    def _start(self, masters, update: int) -> None:
        try:
            self.pruner.start(masters)
        except ValueError as error:
            if self.pruner.initial_mask is not None and self.pruner.initial_mask.emptied:
                layerwise = self.cfg.prune_pattern == "global"
                hint = ", or task.prune_pattern=layerwise" if layerwise else ""
                raise ValueError(f"{error}: expected a lower task.sparsity{hint}") from None
            raise
        self.pruner.pruned_in_epoch = self.epoch
        self.prune_log.pruned(update)

    def _prune(self, optimizer, update: int) -> None:
        start = time.perf_counter()
        with failing_together(self._device()):
            self.pruner.prune(update, master_weights(optimizer, self.pruner.params))
        require_agreement(self.pruner.mask, self._device())
        self.prune_log.seconds.append(time.perf_counter() - start)
        self.prune_log.pruned(update, self.prune_log.seconds[-1])

    def _device(self) -> torch.device:
        return next(iter(self.pruner.params.values())).device

    def state_dict(self):
        """fairseq asks for it when it writes a checkpoint."""
        if self.prune_log is not None:
            self.prune_log.saves()
        return super().state_dict()

    def reduce_metrics(self, logging_outputs, criterion):
        super().reduce_metrics(logging_outputs, criterion)
        if criterion.training and any(log.get("_stop", 0) for log in logging_outputs):
            self.stop.end(
                config_of_run(self.cfg), self.prune_log.update, self.train_batches.end_of_epoch()
            )
        if criterion.training and self.pruner is not None and self.pruner.started:
            for name, value in self.prune_log.metrics().items():
                metrics.log_scalar(name, value, weight=0, priority=600, round=4)

    # Evaluation --------------------------------------------------------------------------------

    def build_generator(self, models, args, extra_gen_cls_kwargs=None, **_) -> CtcGenerator:
        with refusals():
            return build_generator(
                self.cfg,
                args,
                self.target_dictionary,
                self.target_dictionary.index(self.blank_symbol),
                (extra_gen_cls_kwargs or {}).get("lm_model"),
                self.cfg.sample_rate,
                self.num_utterances,
            )

    def get_batch_iterator(self, dataset, *args, **kwargs):
        """As in fairseq; except for training, every line of the manifest is in some batch.

        Raises:
            ValueError: an utterance would be left out of an evaluation.
        """
        if self.pruner is not None and dataset is self.datasets.get(self.cfg.train_subset):
            self.train_batches = super().get_batch_iterator(dataset, *args, **kwargs)
            return self.train_batches
        # fairseq 0.12.3 drops the last batch when its size is no multiple of this.
        kwargs["required_batch_size_multiple"] = 1
        # fairseq-generate is a single process, and yet takes a shard for each GPU that it sees.
        if not torch.distributed.is_initialized():
            kwargs.update(num_shards=1, shard_id=0)
        batches = super().get_batch_iterator(dataset, *args, **kwargs)
        with refusals():
            self._require_all_scored(dataset, batches)
        return batches

    def _require_all_scored(self, dataset, batches) -> None:
        audio = getattr(dataset, "dataset", dataset)
        lines = len(dataset) + len(getattr(audio, "skipped_indices", ()))
        scored = self.num_utterances = sum(map(len, batches.frozen_batches))
        logger.info(f"scoring {scored} of {lines} utterances")
        if scored != lines:
            raise ValueError(
                f"only {scored} of the manifest's {lines} utterances would be scored: check "
                f"task.min_sample_size ({self.cfg.min_sample_size}) and task.max_sample_size "
                f"({self.cfg.max_sample_size})"
            )
