"""``parp_roberta``: stock ``roberta`` whose eval() and checkpoints are the subnetwork."""

import math

from fairseq.models import register_model, register_model_architecture
from fairseq.models.roberta.model import (
    RobertaModel,
    base_architecture,
    roberta_large_architecture,
)

from .masked import Masked


@register_model("parp_roberta")
class ParpRoberta(Masked, RobertaModel):
    """A masked ``roberta``, with the same parameter names.

    It has one option that ``roberta`` lacks, ``layer_norm_eps``. fairseq's layer norms add 1e-5 to
    the variance. BERT's add 1e-12, and the variance of its embeddings is small.
    """

    @staticmethod
    def add_args(parser):
        RobertaModel.add_args(parser)
        parser.add_argument(
            "--layer-norm-eps",
            type=float,
            metavar="EPS",
            help="what layer norms add to the variance; not given: 1e-5, as in RoBERTa. An encoder "
            "that was made from a BERT needs BERT's, 1e-12",
        )

    def __init__(self, cfg, encoder):
        super().__init__(cfg, encoder)
        eps = getattr(cfg, "layer_norm_eps", None)
        if eps is None:
            return
        if not 0 < float(eps) < math.inf:
            raise ValueError(f"model.layer_norm_eps is {eps}, expected a number greater than 0")
        for module in encoder.modules():
            if hasattr(module, "normalized_shape"):  # torch's or apex's
                module.eps = float(eps)


register_model_architecture("parp_roberta", "parp_roberta")(base_architecture)
register_model_architecture("parp_roberta", "parp_roberta_large")(roberta_large_architecture)
