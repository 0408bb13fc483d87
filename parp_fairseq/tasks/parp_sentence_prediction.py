"""The task ``parp_sentence_prediction``: ``sentence_prediction`` that prunes as it trains."""

from dataclasses import dataclass

from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.tasks import register_task
from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask

from parp_fairseq.models.masked import Masked
from parp_fairseq.models.parp_roberta import ParpRoberta  # noqa: F401  (registers it)

from .identity import text_digests
from .options import PruningConfig
from .pruning_task import PruningTask


@dataclass
class ParpSentencePredictionConfig(PruningConfig, SentencePredictionConfig):
    """The options of ``sentence_prediction``, and those of pruning."""


@register_task("parp_sentence_prediction", dataclass=ParpSentencePredictionConfig)
class ParpSentencePredictionTask(PruningTask, SentencePredictionTask):
    """Finetunes ``parp_roberta`` on sentences or pairs of sentences, as those of GLUE.

    The data are those of the stock task: what ``fairseq-preprocess`` makes of a task of GLUE.
    """

    cfg: ParpSentencePredictionConfig

    def require_model(self, model_cfg, trains: bool) -> None:
        name = getattr(model_cfg, "_name", None) or getattr(model_cfg, "arch", None)
        found = ARCH_MODEL_REGISTRY.get(name)
        if trains and not (found is not None and issubclass(found, Masked)):
            raise ValueError(
                "task parp_sentence_prediction trains the model parp_roberta or "
                f"parp_roberta_large, found model._name={name}"
            )

    def data_digests(self):
        return text_digests(self.cfg)
