"""The task ``parp``: ``audio_finetuning`` that prunes as it trains and scores every utterance."""

import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any, Dict, List, Tuple

from fairseq.data import FairseqDataset
from fairseq.distributed import utils as distributed_utils
from fairseq.tasks import register_task
from fairseq.tasks.audio_finetuning import AudioFinetuningTask

from parp_fairseq.decoding import CtcGenerator
from parp_fairseq.models.encoder_file import require_ctc, require_encoder
from parp_fairseq.models.masked import Masked
from parp_fairseq.models.parp_hubert_ctc import ParpHubertCtc  # noqa: F401  (registers it)
from parp_fairseq.models.parp_wav2vec_ctc import ParpWav2VecCtc  # noqa: F401
from parp_fairseq.pruning.pathways_training import PathwaysTraining

from .audio_headers import shortest_clip
from .corpora import corpora_of, options_for, weights_of, without_keys
from .corpus_batches import CorpusBatches, joined, keep_order
from .decoding import build_generator, lm_path_of
from .dictionary import load_dictionary, require_same_dictionary
from .identity import config_of_run, speech_digests
from .labels import require_data, require_split
from .language_model_file import require_language_model
from .mask_per_corpus import build_pathways, evaluated_corpora, require_mask_per_corpus
from .options import ParpConfig
from .pruning_task import PruningTask
from .refusals import refusals
from .resuming import Former

logger = logging.getLogger(__name__)


def _convolutions(model: Masked) -> List[Tuple[int, int, int]]:
    """(channels, width, stride) of each convolution of the encoder's feature extractor."""
    layers = model.w2v_encoder.w2v_model.feature_extractor.conv_layers
    convolutions = [layer[0] for layer in layers]
    return [(conv.out_channels, conv.kernel_size[0], conv.stride[0]) for conv in convolutions]


@register_task("parp", dataclass=ParpConfig)
class ParpTask(PruningTask, AudioFinetuningTask):
    """Finetunes a masked CTC model. Trainer, optimizers and criterion stay stock."""

    cfg: ParpConfig

    def __init__(self, cfg: ParpConfig):
        super().__init__(cfg)
        self.shortest_clip = 400  # samples, of wav2vec 2.0; the model at hand may need others
        self.num_utterances = 0  # in the split that is evaluated
        self.networks: List[Masked] = []  # the one that is trained, or those that are evaluated

    def require_options(self) -> None:
        require_data(self.cfg)
        super().require_options()
        if self.cfg.mask_per_corpus:
            require_mask_per_corpus(self.cfg)

    def require_model(self, model_cfg, trains: bool) -> None:
        require_ctc(model_cfg, masked=trains)
        require_encoder(model_cfg)

    def build_model(self, model_cfg, from_checkpoint: bool = False):
        model = super().build_model(model_cfg, from_checkpoint)
        self.shortest_clip = shortest_clip(_convolutions(model))
        self.networks.append(model)
        return model

    def make_pruner(self, model):
        if self.cfg.mask_per_corpus:
            return build_pathways(self.cfg, model)
        return super().make_pruner(model)

    def make_training(self):
        if self.cfg.mask_per_corpus:
            group = distributed_utils.get_data_parallel_group
            return PathwaysTraining(self.pruner, self.cfg.max_update, group)
        return super().make_training()

    def data_digests(self):
        return speech_digests(self.cfg)

    def require_former(self, former: Former) -> None:
        require_same_dictionary(
            self.dictionary_file, self.target_dictionary, former.dictionary, former.path
        )

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
        cfg, trains = task_cfg or self.cfg, self._trains_on(split)
        with refusals():
            self._require_masks(cfg)
            require_language_model(lm_path_of(self.cfg), self.cfg.data)
            cfg = options_for(split, cfg, trains)
        if self.corpora:
            load = self._load_corpora if trains else self._load_evaluated
            self.datasets[split] = load(split, cfg, **kwargs)
        else:
            self._load(split, cfg, trains, **kwargs)

    def _load(self, split: str, cfg: Any, trains: bool, **kwargs) -> None:
        with refusals():
            require_split(
                Path(self.cfg.data), split, cfg, self.target_dictionary, self.shortest_clip, trains
            )
        super().load_dataset(split, cfg, **kwargs)

    # A mask for each corpus --------------------------------------------------------------------

    @property
    def corpora(self) -> List[str]:
        """The corpora that have a mask each; empty where there is one mask for all."""
        return self.networks[0].corpora if self.networks else []

    def _require_masks(self, cfg: Any) -> None:
        """Raise ValueError where the network that is evaluated lacks the masks that it needs."""
        if self.corpora or self.pruner is not None or not self.networks:
            return
        if self.cfg.corpus is not None:
            raise ValueError(
                f"task.corpus is {self.cfg.corpus!r}, and the checkpoint has one subnetwork for "
                "all corpora: expected null"
            )
        if getattr(cfg, "mask_per_corpus", False):
            raise ValueError(
                "the checkpoint was trained with task.mask_per_corpus=true and holds no masks: a "
                "tool dropped the metadata of its weights; expected the file as training wrote it, "
                "or what parp unpack makes of a pack"
            )

    def _load_corpora(self, split: str, cfg: Any, **kwargs) -> CorpusBatches:
        weights, plain = weights_of(split, cfg), without_keys(cfg)
        parts = OrderedDict(
            (key, self._load_plain(name, plain, True, **kwargs)) for key, name in corpora_of(split)
        )
        dataset, corpus_of = joined(parts, weights)
        return CorpusBatches(dataset, corpus_of, self.cfg.seed, self._batches_per_update)

    def _load_evaluated(self, split: str, cfg: Any, **kwargs) -> CorpusBatches:
        with refusals():
            data = Path(self.cfg.data)
            name, corpus_of = evaluated_corpora(split, self.corpora, self.cfg.corpus, data)
        dataset = self._load_plain(name, without_keys(cfg), False, **kwargs)
        if isinstance(corpus_of, str):
            return CorpusBatches(dataset, [corpus_of] * len(dataset))
        skipped = getattr(dataset.dataset, "skipped_indices", ())
        kept = [corpus for line, corpus in enumerate(corpus_of) if line not in skipped]
        return CorpusBatches(dataset, kept)

    def _load_plain(self, name: str, cfg: Any, trains: bool, **kwargs) -> FairseqDataset:
        """What fairseq makes of one manifest; :attr:`datasets` stays as it is."""
        held = self.datasets.pop(name, None)
        self._load(name, cfg, trains, **kwargs)
        loaded = self.datasets.pop(name)
        if held is not None:
            self.datasets[name] = held
        return loaded

    def _batches_per_update(self, epoch: int) -> int:
        """Batches of an update in an epoch, over all ranks."""
        config = config_of_run(self.cfg)
        by_epoch = config.optimization.update_freq if config is not None else [1]
        ranks = distributed_utils.get_data_parallel_world_size()
        return ranks * by_epoch[min(epoch, len(by_epoch)) - 1]

    def valid_step(self, sample, model, criterion):
        if self.corpora:
            (self.model if self.pruner is not None else model).show(sample["corpus"])
        return super().valid_step(sample, model, criterion)

    def inference_step(self, generator, models, sample, *args, **kwargs):
        if self.corpora:
            for model in models:
                model.show(sample["corpus"])
        return super().inference_step(generator, models, sample, *args, **kwargs)

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
        batches = super().get_batch_iterator(dataset, *args, **kwargs)
        if batches is self.train_batches and self.corpora:
            with refusals():
                keep_order(batches)
        if batches is not self.train_batches:
            with refusals():
                self._require_all_scored(dataset, batches)
        return batches

    def _require_all_scored(self, dataset, batches) -> None:
        audio = dataset
        while hasattr(audio, "dataset"):  # the manifest is inside of labels, and of corpora
            audio = audio.dataset
        lines = len(dataset) + len(getattr(audio, "skipped_indices", ()))
        scored = self.num_utterances = sum(map(len, batches.frozen_batches))
        logger.info(f"scoring {scored} of {lines} utterances")
        if scored != lines:
            raise ValueError(
                f"only {scored} of the manifest's {lines} utterances would be scored: check "
                f"task.min_sample_size ({self.cfg.min_sample_size}) and task.max_sample_size "
                f"({self.cfg.max_sample_size})"
            )
