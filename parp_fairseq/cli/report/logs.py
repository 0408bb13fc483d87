"""What a training wrote to its log (hydra_train.log)."""

import ast
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

_CONFIG = re.compile(r"\[fairseq_cli\.train\]\[INFO\] - (\{'_name'.*\})$", re.MULTILINE)
_PRUNE = re.compile(
    r"\bat update (\d+)\b.*[,:] sparsity ([\d.]+|nan), mask_iou ([\d.]+|nan), "
    r"revived ([\d.]+|nan)",
    re.MULTILINE,
)
_STATS = re.compile(r"\[(train_inner|train|valid)\]\[INFO\] - (\{.*\})$", re.MULTILINE)


@dataclass(frozen=True)
class Pruned:
    """What training wrote about one prune.

    Attributes:
        update: optimizer updates done.
        sparsity: share of the prunable weights that are pruned.
        revived: share of the prunable weights that it brought back.
        mask_iou: IoU with the initial mask.
    """

    update: int
    sparsity: float
    revived: float
    mask_iou: float


@dataclass(frozen=True)
class Log:
    """The log of one training.

    Attributes:
        config: the config that fairseq trained with, of the last start; None if there is none.
        updates: optimizer updates done.
        seconds: time spent training, over all starts; None if the log does not say.
        prunes: in order; the first one makes the initial mask.
        loss: update -> training loss per label.
        valid: update -> error rate on the validation set, in percent.
    """

    config: Optional[Dict[str, Any]]
    updates: int
    seconds: Optional[float]
    prunes: List[Pruned]
    loss: Dict[int, float] = field(default_factory=dict)
    valid: Dict[int, float] = field(default_factory=dict)


def read_log(path: Path) -> Log:
    """Read the log of a training that may have been stopped and resumed.

    After a resume, some updates come a second time; the last ones count. Lines that were cut short
    are skipped.
    """
    text = path.read_text(errors="replace")
    updates, seconds = 0, None
    loss: Dict[int, float] = {}
    valid: Dict[int, float] = {}
    for kind, found in _STATS.findall(text):
        try:
            stats = json.loads(found)
        except ValueError:
            continue
        prefix = "" if kind == "train_inner" else f"{kind}_"
        update = int(stats.get(f"{prefix}num_updates", 0))
        updates = max(updates, update)
        if kind == "valid":
            rate = stats.get("valid_wer")
            if "valid_accuracy" in stats:
                rate = 100 - float(stats["valid_accuracy"])
            if rate is not None:
                valid[update] = float(rate)
            continue
        wall = stats.get(f"{prefix}wall")
        if wall is not None:
            seconds = float(wall)
        if f"{prefix}loss" in stats and kind == "train_inner":
            # That of a classifier is by sentence, and its nll_loss by piece of a sentence.
            by_label = "nll_loss" in stats and "accuracy" not in stats
            loss[update] = float(stats["nll_loss" if by_label else "loss"])
    prunes = {
        int(update): Pruned(int(update), float(sparsity), float(revived), float(iou))
        for update, sparsity, iou, revived in _PRUNE.findall(text)
    }
    return Log(
        config=_last_config(text),
        updates=updates,
        seconds=seconds,
        prunes=[prunes[update] for update in sorted(prunes)],
        loss=dict(sorted(loss.items())),
        valid=dict(sorted(valid.items())),
    )


def _last_config(text: str) -> Optional[Dict[str, Any]]:
    for found in reversed(_CONFIG.findall(text)):
        try:
            return ast.literal_eval(_QuotedNames().visit(ast.parse(found, mode="eval")))
        except (ValueError, SyntaxError):  # cut short
            continue
    return None


class _QuotedNames(ast.NodeTransformer):
    """fairseq prints the values of enumerations without quotation marks."""

    def visit_Name(self, node: ast.Name) -> ast.Constant:
        return ast.copy_location(ast.Constant(node.id), node)
