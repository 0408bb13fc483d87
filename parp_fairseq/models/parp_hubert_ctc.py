"""``parp_hubert_ctc``: stock ``hubert_ctc`` whose eval() and checkpoints are the subnetwork."""

from dataclasses import dataclass
from pathlib import Path
from typing import List

from fairseq.data import Dictionary
from fairseq.file_io import PathManager
from fairseq.models import register_model
from fairseq.models.hubert.hubert_asr import HubertCtc, HubertCtcConfig
from omegaconf import II

from parp_fairseq.pruning.plain_file import load_plain

from .masked import MaskedConfig, MaskedCtc


@dataclass
class ParpHubertCtcConfig(MaskedConfig, HubertCtcConfig):
    """The options of ``hubert_ctc`` and of :class:`MaskedConfig`."""

    # fairseq 0.12.3 reads this option of `hubert_ctc` but does not define it, so that its own
    # `hubert_ctc` can be neither trained nor loaded (facebookresearch/fairseq issue 4916).
    autoregressive: bool = II("task.autoregressive")


@register_model("parp_hubert_ctc", dataclass=ParpHubertCtcConfig)
class ParpHubertCtc(MaskedCtc, HubertCtc):
    """A masked ``hubert_ctc``."""

    def __init__(self, cfg: ParpHubertCtcConfig, w2v_encoder):
        super().__init__(cfg, w2v_encoder)
        # fairseq keeps the embeddings of the cluster targets, which finetuning never uses. Without
        # a gradient they would make DistributedDataParallel stop.
        targets = getattr(w2v_encoder.w2v_model, "label_embs_concat", None)
        if targets is not None:
            targets.requires_grad_(False)

    @classmethod
    def build_model(cls, cfg: ParpHubertCtcConfig, task):
        if cfg.w2v_args is None:
            # fairseq builds the encoder with the dictionaries of its cluster targets. A checkpoint
            # carries them, or an evaluation would look for their files in the folder of
            # pre-training.
            task.state.merge_state_dict({"dictionaries": _target_dictionaries(cfg.w2v_path)})
        return super().build_model(cfg, task)


def _target_dictionaries(path: str) -> List[Dictionary]:
    """Those of the cluster targets that the HuBERT in ``path`` was pre-trained with."""
    return load_plain(Path(PathManager.get_local_path(path)))["task_state"]["dictionaries"]
