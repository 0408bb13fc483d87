"""Masked: a fairseq model whose eval() and checkpoints are the subnetwork of a pruner."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from fairseq.dataclass import FairseqDataclass
from omegaconf import II
from torch import Tensor

from parp_fairseq.pruning import Mask, Pruner, Subnetwork
from parp_fairseq.pruning.metadata import METADATA_KEY
from parp_fairseq.pruning.pathways import Switch, masks_in
from parp_fairseq.pruning.scope import encoder_name

from .reproducible_masking import generator_state, make_masking_reproducible


@dataclass
class MaskedConfig(FairseqDataclass):
    """The options that a masked CTC model adds to those of the model of fairseq.

    Options of pruning belong to the task.
    """

    freeze_share: Optional[float] = field(
        default=None,
        metadata={
            "help": "share of optimization.max_update, from 0 to 1, for which the encoder stays "
            "frozen and only the output layer trains; it sets freeze_finetune_updates. Not given: "
            "freeze_finetune_updates as it is"
        },
    )
    max_update: int = II("optimization.max_update")


class Masked:
    """Mixin for a model of fairseq.

    Parameters keep their names. ``train()`` shows the whole network, ``eval()`` the subnetwork at
    the target sparsity. ``state_dict()`` is sparse in both modes. What training needs beside the
    weights is a plain dict, which travels in the metadata of the state dict, where torch keeps the
    versions of modules: stock fairseq gives a task no way to load its state on resume, and other
    tools read the checkpoint as one of the stock model.

    Attributes:
        pruner: prunes this network while it is trained; None in evaluation.
        options: the task's pruning options, which checkpoints remember.
        identity: all that decides the weights of the run, which checkpoints remember too.
        masters: float32 copies that the optimizer keeps of all weights; checkpoints hold them too.
        resumable: what the last loaded checkpoint holds beside the weights; None if nothing.
        masks: name of a corpus -> mask of its subnetwork, of the checkpoint that was loaded for
            evaluation; empty where there is one subnetwork for all.
    """

    def __init__(self, cfg, encoder):
        super().__init__(cfg, encoder)
        self.pruner: Optional[Pruner] = None
        self.options: Dict[str, Any] = {}
        self.identity: Dict[str, Any] = {}
        self.masters: List[Tensor] = []
        self.resumable: Optional[Dict[str, Any]] = None
        self.masks: Dict[str, Mask] = {}
        self._switch: Optional[Switch] = None
        self._register_state_dict_hook(_make_sparse)
        self._register_load_state_dict_pre_hook(self._keep_resumable)

    def train(self, mode: bool = True):
        if self.pruner is not None:
            self.pruner.restore() if mode else self.pruner.hide()
        return super().train(mode)

    @property
    def corpora(self) -> List[str]:
        """The corpora that have a subnetwork each; empty where there is one for all."""
        if self.pruner is not None:
            return getattr(self.pruner, "corpora", [])
        return list(self.masks)

    def show(self, corpus: str) -> None:
        """In evaluation, be the subnetwork of a corpus.

        Raises:
            KeyError: there is none for that corpus.
        """
        if self.pruner is not None:
            self.pruner.show(corpus)
            return
        if self._switch is None:
            named = ((encoder_name(name), param) for name, param in self.named_parameters())
            covered = next(iter(self.masks.values()))
            params = {name: param for name, param in named if name in covered}
            self._switch = Switch(Subnetwork(params), self.masks)
        self._switch.show(corpus)

    def _keep_resumable(self, state_dict, prefix, local_metadata, *_):
        held = local_metadata.get(METADATA_KEY)
        if self.pruner is not None:
            self.resumable = held
        else:
            self.masks, self._switch = masks_in((held or {}).get("pruner")), None


class MaskedCtc(Masked):
    """Mixin for a CTC model of fairseq that has its encoder in ``w2v_encoder.w2v_model``."""

    def __init__(self, cfg, w2v_encoder):
        super().__init__(cfg, w2v_encoder)
        make_masking_reproducible(w2v_encoder.w2v_model, w2v_encoder.apply_mask)

    @classmethod
    def build_model(cls, cfg, task):
        share = getattr(cfg, "freeze_share", None)  # older checkpoints lack it
        if share is not None:
            if not 0 <= share <= 1:
                raise ValueError(f"model.freeze_share is {share}, expected a share from 0 to 1")
            cfg.freeze_finetune_updates = round(share * cfg.max_update)
        return super().build_model(cfg, task)


def _make_sparse(model: Masked, state_dict, prefix: str, local_metadata) -> None:
    if model.pruner is None:
        return
    resumable = {
        "generator": generator_state(),
        "options": model.options,
        "identity": model.identity,
        "masters": [master.cpu() for master in model.masters],
    }
    if model.pruner.prunes:
        mask = model.pruner.subnetwork_mask()
        mask.apply_to_state_(state_dict, encoder_name)
        resumable["pruner"] = model.pruner.state_dict(mask)
    local_metadata[METADATA_KEY] = resumable
