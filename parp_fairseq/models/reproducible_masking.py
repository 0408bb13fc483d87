"""Masking of time steps and channels that follows the seed, where fairseq's own does not.

From 0.12.3 on, fairseq's ``compute_mask_indices`` draws from a generator that the operating system
seeds unless it is given a seed, and ``Wav2Vec2Model.apply_mask`` gives none: two runs with the same
``common.seed`` differ. 0.12.2 draws from NumPy's global generator, which fairseq seeds at the start
of a run, but not where a run is resumed.

A checkpoint is written by rank 0 and holds the state of its generator. With 0.12.2, where ranks
draw as many numbers as their batches ask for, a resumed run of several ranks draws others than one
that was left alone.
"""

import inspect
from functools import partial
from typing import Any, Dict, Mapping

import numpy as np
import torch
from fairseq.data.data_utils import compute_mask_indices
from fairseq.models.wav2vec import Wav2Vec2Model
from torch import Tensor


def make_masking_reproducible(encoder: Wav2Vec2Model) -> None:
    """Draw the encoder's time and channel masks from NumPy's global generator, on every fairseq.

    ``mask_channel_before`` is out of reach: fairseq draws that mask inside, whatever it is given.
    """
    if "seed" in inspect.signature(compute_mask_indices).parameters:
        encoder.apply_mask = partial(_apply_seeded_mask, encoder, encoder.apply_mask)


def generator_state() -> Dict[str, Any]:
    """State of NumPy's global generator (masking, layer drop), plain enough for a checkpoint."""
    state = np.random.get_state(legacy=False)
    key = torch.from_numpy(state["state"]["key"].astype(np.int64))
    return {**state, "state": {"key": key, "pos": int(state["state"]["pos"])}}


def set_generator_state(state: Mapping[str, Any]) -> None:
    """Undo :func:`generator_state`."""
    key = state["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**state, "state": {**state["state"], "key": key}})


def _apply_seeded_mask(
    encoder, apply_mask, x: Tensor, padding_mask, mask_indices=None, mask_channel_indices=None
):
    batch, time, channels = x.shape
    if mask_indices is None and encoder.mask_prob > 0:
        mask_indices = _draw(
            (batch, time),
            padding_mask,
            encoder.mask_prob,
            encoder.mask_length,
            encoder.mask_selection,
            encoder.mask_other,
            min_masks=2,
            no_overlap=encoder.no_mask_overlap,
            min_space=encoder.mask_min_space,
            require_same_masks=encoder.cfg.require_same_masks,
            mask_dropout=encoder.cfg.mask_dropout,
        ).to(x.device)
    if mask_channel_indices is None and encoder.mask_channel_prob > 0:
        mask_channel_indices = _draw(
            (batch, channels),
            None,
            encoder.mask_channel_prob,
            encoder.mask_channel_length,
            encoder.mask_channel_selection,
            encoder.mask_channel_other,
            no_overlap=encoder.no_mask_channel_overlap,
            min_space=encoder.mask_channel_min_space,
        ).to(x.device)
        mask_channel_indices = mask_channel_indices.unsqueeze(1).expand(-1, time, -1)
    return apply_mask(x, padding_mask, mask_indices, mask_channel_indices)


def _draw(shape, *args, **kwargs) -> Tensor:
    seed = int(np.random.randint(2**31))
    rows = torch.arange(shape[0])
    return torch.from_numpy(
        compute_mask_indices(shape, *args, seed=seed, epoch=0, indices=rows, **kwargs)
    )
