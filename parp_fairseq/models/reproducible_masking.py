"""Masking of time steps and channels that follows the seed, where fairseq's own does not.

From 0.12.3 on, fairseq's ``compute_mask_indices`` draws from a generator that the operating system
seeds unless it is given a seed, and the encoders' ``apply_mask`` gives none: two runs with the same
``common.seed`` differ. 0.12.2 draws from NumPy's global generator, which fairseq seeds at the start
of a run, but not where a run is resumed.

A checkpoint is written by rank 0 and holds the state of its generator. With 0.12.2, where ranks
draw as many numbers as their batches ask for, a resumed run of several ranks draws other numbers
than an uninterrupted one.
"""

import inspect
import logging
from functools import partial
from typing import Any, Dict, Mapping, Optional

import numpy as np
import torch
from fairseq.data.data_utils import compute_mask_indices
from fairseq.models.hubert import HubertModel
from fairseq.models.wav2vec import Wav2Vec2Model
from torch import Tensor, nn

logger = logging.getLogger(__name__)


def make_masking_reproducible(encoder: nn.Module, masks: bool = True) -> None:
    """Draw the encoder's time and channel masks from NumPy's global generator, on every fairseq.

    ``mask_channel_before`` cannot be reached: fairseq draws that mask inside ``apply_mask``. For an
    encoder whose own ``apply_mask`` takes no masks either, the log has a warning.

    Args:
        encoder: a wav2vec 2.0, HuBERT or data2vec, or a subclass of one.
        masks: whether the run masks at all; no warning otherwise.
    """
    if "seed" not in inspect.signature(compute_mask_indices).parameters:
        return
    if getattr(type(encoder), "apply_mask", None) is HubertModel.apply_mask:
        encoder.apply_mask = partial(_mask_hubert, encoder)
    elif _takes_masks(encoder):
        encoder.apply_mask = partial(_apply_seeded_mask, encoder, encoder.apply_mask)
    elif masks:
        logger.warning(
            f"apply_mask of {type(encoder).__name__} takes no mask_indices and "
            "mask_channel_indices, so its masks do not follow common.seed: two runs differ, and a "
            "resumed run differs from an uninterrupted one"
        )


def generator_state() -> Dict[str, Any]:
    """State of NumPy's global generator (masking, layer drop), plain enough for a checkpoint."""
    state = np.random.get_state(legacy=False)
    key = torch.from_numpy(state["state"]["key"].astype(np.int64))
    return {**state, "state": {"key": key, "pos": int(state["state"]["pos"])}}


def set_generator_state(state: Mapping[str, Any]) -> None:
    """Undo :func:`generator_state`."""
    key = state["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**state, "state": {**state["state"], "key": key}})


def _takes_masks(encoder: nn.Module) -> bool:
    try:
        signature = inspect.signature(encoder.apply_mask)
        signature.bind(None, None, mask_indices=None, mask_channel_indices=None)
    except (AttributeError, TypeError):
        return False
    return True


def _apply_seeded_mask(
    encoder, apply_mask, x: Tensor, padding_mask, mask_indices=None, mask_channel_indices=None
):
    if mask_indices is None:
        mask_indices = _draw_times(encoder, x, padding_mask)
    if mask_channel_indices is None:
        mask_channel_indices = _draw_channels(encoder, x)
    # Under common.amp x is in half precision, into which fairseq writes the float32 mask_emb:
    # torch refuses that.
    x = x.to(encoder.mask_emb.dtype)
    return apply_mask(
        x, padding_mask, mask_indices=mask_indices, mask_channel_indices=mask_channel_indices
    )


def _mask_hubert(encoder, x: Tensor, padding_mask, target_list):
    """``HubertModel.apply_mask``, which takes no masks, with masks that follow the seed."""
    mask_indices = _draw_times(encoder, x, padding_mask)
    if mask_indices is not None:
        x[mask_indices] = encoder.mask_emb.to(x.dtype)
    mask_channel_indices = _draw_channels(encoder, x)
    if mask_channel_indices is not None:
        x[mask_channel_indices] = 0
    return x, mask_indices


def _draw_times(encoder, x: Tensor, padding_mask) -> Optional[Tensor]:
    """Mask of time steps, shape ``(batch, time)``; None without ``mask_prob``."""
    if encoder.mask_prob <= 0:
        return None
    cfg = getattr(encoder, "cfg", None)  # HuBERT has neither a cfg nor these two options
    return _draw(
        x.shape[:2],
        padding_mask,
        encoder.mask_prob,
        encoder.mask_length,
        encoder.mask_selection,
        encoder.mask_other,
        min_masks=2 if isinstance(encoder, (Wav2Vec2Model, HubertModel)) else 1,  # data2vec
        no_overlap=encoder.no_mask_overlap,
        min_space=encoder.mask_min_space,
        require_same_masks=getattr(cfg, "require_same_masks", True),
        mask_dropout=getattr(cfg, "mask_dropout", 0.0),
    ).to(x.device)


def _draw_channels(encoder, x: Tensor) -> Optional[Tensor]:
    """Mask of channels, shape ``(batch, time, channels)``; None without ``mask_channel_prob``."""
    if encoder.mask_channel_prob <= 0:
        return None
    batch, time, channels = x.shape
    mask = _draw(
        (batch, channels),
        None,
        encoder.mask_channel_prob,
        encoder.mask_channel_length,
        encoder.mask_channel_selection,
        encoder.mask_channel_other,
        no_overlap=encoder.no_mask_channel_overlap,
        min_space=encoder.mask_channel_min_space,
    ).to(x.device)
    return mask.unsqueeze(1).expand(-1, time, -1)


def _draw(shape, *args, **kwargs) -> Tensor:
    seed = int(np.random.randint(2**31))
    rows = torch.arange(shape[0])
    return torch.from_numpy(
        compute_mask_indices(tuple(shape), *args, seed=seed, epoch=0, indices=rows, **kwargs)
    )
