"""``parp_roberta``: stock ``roberta`` whose eval() and checkpoints are the subnetwork."""

from fairseq.models import register_model, register_model_architecture
from fairseq.models.roberta.model import (
    RobertaModel,
    base_architecture,
    roberta_large_architecture,
)

from .masked import Masked


@register_model("parp_roberta")
class ParpRoberta(Masked, RobertaModel):
    """A masked ``roberta``, with the same parameter names."""


register_model_architecture("parp_roberta", "parp_roberta")(base_architecture)
register_model_architecture("parp_roberta", "parp_roberta_large")(roberta_large_architecture)
