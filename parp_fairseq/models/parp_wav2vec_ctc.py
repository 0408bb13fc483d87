"""``parp_wav2vec_ctc``: stock ``wav2vec_ctc`` whose eval() and checkpoints are the subnetwork."""

from dataclasses import dataclass

from fairseq.models import register_model
from fairseq.models.wav2vec import Wav2Vec2CtcConfig, Wav2VecCtc

from .masked import MaskedConfig, MaskedCtc


@dataclass
class ParpWav2VecCtcConfig(MaskedConfig, Wav2Vec2CtcConfig):
    """The options of ``wav2vec_ctc`` and of :class:`MaskedConfig`."""


@register_model("parp_wav2vec_ctc", dataclass=ParpWav2VecCtcConfig)
class ParpWav2VecCtc(MaskedCtc, Wav2VecCtc):
    """A masked ``wav2vec_ctc``, for wav2vec 2.0, its subclasses, and data2vec."""
