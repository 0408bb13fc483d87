"""Kinds of encoders: what the masked models finetune, and which of the two takes an encoder.

``parp_wav2vec_ctc`` takes wav2vec 2.0 and data2vec, ``parp_hubert_ctc`` takes HuBERT. Both also
take subclasses, which a user dir registers with fairseq.
"""

import importlib
from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY
from fairseq.models.hubert import HubertModel
from fairseq.models.hubert.hubert_asr import HubertCtc
from fairseq.models.wav2vec import Wav2Vec2Model, Wav2VecCtc
from fairseq.tasks.audio_pretraining import AudioPretrainingTask
from fairseq.tasks.hubert_pretraining import HubertPretrainingTask

DATA2VEC = "data2vec_audio"
# fairseq ships data2vec among its examples, and does not import it.
_DATA2VEC_MODULE = "fairseq.examples.data2vec.models.data2vec_audio"


@dataclass(frozen=True)
class Kind:
    """Encoders that one masked model takes.

    Args:
        wrapper: name of the masked model.
        stock: name of the model of fairseq that it masks.
        stock_class: the class of that model.
        encoders: names of the encoders that fairseq has.
        base: their common class; data2vec does not have it.
        task, task_class: the pre-training task that builds them.
    """

    wrapper: str
    stock: str
    stock_class: type
    encoders: Tuple[str, ...]
    base: type
    task: str
    task_class: type

    def takes(self, name: Any) -> bool:
        """Whether the encoder that is registered as ``name`` is of this kind."""
        classes: List[Optional[type]] = [self.base]
        if DATA2VEC in self.encoders:
            classes.append(MODEL_REGISTRY.get(DATA2VEC))
        found = registered(name)
        return found is not None and any(c is not None and issubclass(found, c) for c in classes)

    @property
    def expected(self) -> str:
        """What the kind takes, in words."""
        return f"{' or '.join(self.encoders)}, or a registered subclass of {self.base.__name__}"


KINDS = (
    Kind(
        "parp_wav2vec_ctc",
        "wav2vec_ctc",
        Wav2VecCtc,
        ("wav2vec2", DATA2VEC),
        Wav2Vec2Model,
        "audio_pretraining",
        AudioPretrainingTask,
    ),
    Kind(
        "parp_hubert_ctc",
        "hubert_ctc",
        HubertCtc,
        ("hubert",),
        HubertModel,
        "hubert_pretraining",
        HubertPretrainingTask,
    ),
)


def registered(name: Any) -> Optional[type]:
    """The class of the model or architecture ``name``; None if fairseq does not know it.

    ``data2vec_audio`` is registered here, unless a user dir has done so before.
    """
    if name == DATA2VEC and DATA2VEC not in MODEL_REGISTRY:
        try:
            importlib.import_module(_DATA2VEC_MODULE)
        except ImportError:  # a fairseq without its examples
            return None
    return ARCH_MODEL_REGISTRY.get(str(name)) or MODEL_REGISTRY.get(str(name))


def kind_of_finetuned(name: Any) -> Optional[Kind]:
    """The kind whose finetuned models, masked or not, are registered as ``name``."""
    found = registered(name) or object
    return next((kind for kind in KINDS if issubclass(found, kind.stock_class)), None)


def kind_of_encoder(name: Any) -> Optional[Kind]:
    """The kind that takes the encoder ``name``."""
    return next((kind for kind in KINDS if kind.takes(name)), None)
