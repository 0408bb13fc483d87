"""The checkpoint that a training goes on from: judged before fairseq loads it.

fairseq resumes whatever lies in ``checkpoint.save_dir``. It does not ask whether it is of the same
run, starts anew without a word if the file lacks the state of the optimizer, and trains a finished
run for one update more, over its last checkpoint.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional

from fairseq.data import Dictionary
from fairseq.file_io import PathManager

from parp_fairseq.pruning.metadata import kept_beside
from parp_fairseq.pruning.plain_file import load_plain

from .identity import identity_in, require_same_run

logger = logging.getLogger(__name__)

_RESET = "checkpoint.reset_optimizer=true begins anew, at update 0, from its weights"


@dataclass(frozen=True)
class Former:
    """A checkpoint that fairseq will load when training starts.

    Attributes:
        path: the file.
        resumes: whether its run goes on; otherwise a new run begins from its weights.
        updates: optimizer updates that its run had done.
        hours: training time of its run.
        has_optimizer: whether it holds the state of the optimizer.
        metadata: what a masked model keeps beside the weights; None in checkpoints of others.
        dictionary: the dictionary of its labels, if it holds one.
    """

    path: Path
    resumes: bool
    updates: int
    hours: float
    has_optimizer: bool
    metadata: Optional[Mapping[str, Any]]
    dictionary: Optional[Dictionary]


def find_former(options: Any) -> Optional[Former]:
    """The checkpoint that ``options``, the section ``checkpoint``, have fairseq load; None without.

    Raises:
        ValueError: it cannot be read; the message names the file.
    """
    path, resets = _restored_file(options)
    if path is None or not PathManager.isfile(path):
        return None
    try:
        state = load_plain(Path(PathManager.get_local_path(path)))
    except ValueError as error:
        raise ValueError(f"checkpoint {path}: {error}") from None
    if not isinstance(state, Mapping) or not isinstance(state.get("model"), Mapping):
        raise ValueError(f"checkpoint {path} holds no weights under 'model'")
    history = state.get("optimizer_history") or [{}]
    return Former(
        path=Path(path),
        resumes=not (resets or options.reset_optimizer),
        updates=history[-1].get("num_updates", 0),
        hours=(state.get("extra_state") or {}).get("previous_training_time", 0) / 3600,
        has_optimizer=state.get("last_optimizer_state") is not None,
        metadata=kept_beside(state["model"]),
        dictionary=(state.get("task_state") or {}).get("target_dictionary"),
    )


def require_resumable(former: Former, identity: Mapping[str, Any], config: Any) -> None:
    """Raise ValueError where ``former`` cannot be resumed exactly by the run of ``identity``."""
    if not former.resumes or former.updates == 0:
        return
    if former.metadata is None:
        raise ValueError(
            f"checkpoint {former.path} of update {former.updates} has no state of pruning (it is "
            "of stock fairseq, or a tool dropped the metadata of its weights), so its run cannot "
            f"be resumed: {_RESET}"
        )
    require_same_run(identity, identity_in(former.metadata), former.path)
    if not former.has_optimizer and not has_finished(former, config.optimization):
        raise ValueError(
            f"checkpoint {former.path} of update {former.updates} holds no state of the optimizer "
            f"(checkpoint.no_save_optimizer_state), so its run cannot be resumed: {_RESET}"
        )


def has_finished(former: Former, limits: Any) -> bool:
    """Whether the run of ``former`` has reached its limit of updates or of time."""
    if not former.resumes:
        return False
    return (0 < limits.max_update <= former.updates) or (0 < limits.stop_time_hours < former.hours)


def end_before_training(former: Former, config: Any) -> None:
    """Have ``fairseq-train`` end without an update, and with exit status 0.

    fairseq looks at ``max_update`` and ``stop_time_hours`` after an update, and at ``max_epoch``
    before an epoch: that is where a finished run can stop without touching a file. An exception
    would end a Hydra sweep as well.
    """
    logger.warning(
        f"{former.path} is of a finished run ({former.updates} updates, "
        f"optimization.max_update={config.optimization.max_update}): nothing to train, all files "
        "stay as they are"
    )
    config.optimization.max_epoch = -1


def _restored_file(options: Any):
    """Path that fairseq's ``load_checkpoint`` would take, and whether it resets everything."""
    suffix = options.checkpoint_suffix or ""
    if options.restore_file != "checkpoint_last.pt":
        return options.restore_file.replace(".pt", f"{suffix}.pt"), False
    last = f"{options.save_dir}/checkpoint_last{suffix}.pt"
    if PathManager.exists(last):
        return last, False
    once = getattr(options, "continue_once", None)
    return (once, False) if once is not None else (options.finetune_from_model, True)
