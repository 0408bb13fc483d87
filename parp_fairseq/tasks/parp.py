"""The task ``parp``: ``audio_finetuning`` that prunes as it trains and scores every utterance."""

import logging
from pathlib import Path
from typing import Any, Dict, List, Tuple

from fairseq.tasks import register_task
from fairseq.tasks.audio_finetuning import AudioFinetuningTask

from parp_fairseq.decoding import CtcGenerator
from parp_fairseq.models.encoder_file import require_ctc, require_encoder
from parp_fairseq.models.masked import Masked
from parp_fairseq.models.parp_hubert_ctc import ParpHubertCtc  # noqa: F401  (registers it)
from parp_fairseq.models.parp_wav2vec_ctc import ParpWav2VecCtc  # noqa: F401

from .audio_headers import shortest_clip
from .corpora import options_for
from .decoding import build_generator, lm_path_of
from .dictionary import load_dictionary, require_same_dictionary
from .identity import speech_digests
from .labels import require_data, require_split
from .language_model_file import require_language_model
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

    def require_options(self) -> None:
        require_data(self.cfg)
        super().require_options()

    def require_model(self, model_cfg, trains: bool) -> None:
        require_ctc(model_cfg, masked=trains)
        require_encoder(model_cfg)

    def build_model(self, model_cfg, from_checkpoint: bool = False):
        model = super().build_model(model_cfg, from_checkpoint)
        self.shortest_clip = shortest_clip(_convolutions(model))
        return model

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
        with refusals():
            cfg = options_for(split, task_cfg or self.cfg, self._trains_on(split))
            require_split(
                Path(self.cfg.data), split, cfg, self.target_dictionary, self.shortest_clip,
                self._trains_on(split),
            )  # fmt: skip
            require_language_model(lm_path_of(self.cfg), self.cfg.data)
        super().load_dataset(split, cfg, **kwargs)

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
        if batches is not self.train_batches:
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
