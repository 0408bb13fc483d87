"""Emissions: the log-probability of each symbol in each frame, from one CTC model or several."""

import math
from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Sequence

import torch
from torch import Tensor


@dataclass(frozen=True)
class Emission:
    """What a CTC model says about one utterance.

    Args:
        log_probs: natural logarithms of probabilities, shape ``(frames, symbols)``, float32, on the
            CPU, contiguous.
        frame_seconds: the distance between two frames in seconds; None where it is not known.
    """

    log_probs: Tensor
    frame_seconds: Optional[float] = None


@torch.no_grad()
def emissions_of(
    models: Sequence, net_input: Mapping[str, Any], sample_rate: int = 16000
) -> List[Emission]:
    """The emissions of a batch, one per utterance, without the frames of the padding.

    Several models are an ensemble: the emission is the mean of their probabilities.

    Args:
        models: fairseq models with CTC outputs. They are switched to evaluation.
        net_input: what the models are called with, as in a batch of fairseq.
        sample_rate: of the audio, in Hz.
    """
    total = None
    for model in models:
        model.eval()
        output = model(**net_input)
        # frames x batch x symbols
        log_probs = model.get_normalized_probs(output, log_probs=True)
        total = log_probs if total is None else torch.logaddexp(total, log_probs)
    log_probs = (total - math.log(len(models))).transpose(0, 1).float().cpu()
    padding = output["padding_mask"]
    if padding is None:
        lengths = [log_probs.size(1)] * log_probs.size(0)
    else:
        lengths = (~padding).sum(dim=1).tolist()
    stride = samples_per_frame(models[0])
    seconds = None if stride is None else stride / sample_rate
    return [Emission(e[:n].contiguous(), seconds) for e, n in zip(log_probs, lengths)]


def samples_per_frame(model) -> Optional[int]:
    """The product of the strides of wav2vec 2.0's convolutions; None for other models."""
    for name, module in model.named_modules():
        if name.endswith("feature_extractor") and hasattr(module, "conv_layers"):
            return math.prod(block[0].stride[0] for block in module.conv_layers)
    return None
