"""Loading a finetuned checkpoint of fairseq for evaluation, without its corpus at hand."""

import warnings
from pathlib import Path
from typing import Any, Tuple

import torch
from fairseq import checkpoint_utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

import parp_fairseq.tasks.parp  # noqa: F401  (registers the task and the model)
from parp_fairseq.models.encoder_file import require_ctc, require_encoder
from parp_fairseq.pruning.plain_file import load_plain


def load_network(path: Path, cpu: bool = False) -> Tuple[Any, Any]:
    """The network in a checkpoint, ready for evaluation, and the task that it was trained with.

    Args:
        path: a finetuned checkpoint of fairseq.
        cpu: do not use a GPU.

    Raises:
        OSError, ValueError: the file is something else; the message names it.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {found}: expected a finetuned checkpoint")
    try:
        content = load_plain(path)
        if not (isinstance(content, dict) and "model" in content):
            raise ValueError("it holds no 'model'")
        state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
        cfg = state.get("cfg") or convert_namespace_to_omegaconf(state["args"])
        require_ctc(cfg.model)
        require_encoder(cfg.model)
        with warnings.catch_warnings():  # torch is about to replace the weight norm of fairseq
            warnings.filterwarnings("ignore", ".*weight_norm", FutureWarning)
            [network], _, task = checkpoint_utils.load_model_ensemble_and_task(
                [str(path)], state=state
            )
        if task.target_dictionary is None:
            raise ValueError("it was trained without labels")
    except (ValueError, OSError, KeyError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path} is not a finetuned checkpoint of fairseq: {error}") from None
    if masks := list(getattr(network, "masks", ())):
        raise ValueError(
            f"{path} has a subnetwork for each of {', '.join(masks)}: expected the checkpoint of "
            f"one, which `parp pack --corpus {masks[0]}` and `parp unpack` make"
        )
    if torch.cuda.is_available() and not cpu:
        network.cuda()
    return network.eval(), task
