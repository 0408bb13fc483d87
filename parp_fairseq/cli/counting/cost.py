"""What a model costs: its parameters, and its multiply-adds per second of audio."""

import ast
import re
from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Tuple

from torch import Tensor

from parp_fairseq.pruning.weights import overlapping

# Used in pre-training only; an evaluation never multiplies with these.
_UNUSED = re.compile(
    r"(^|\.)(quantizer|project_q|final_proj|target_glu|label_embs_concat|mask_emb)\b"
)
_CONVOLUTION = re.compile(r"feature_extractor\.conv_layers\.(\d+)\.0\.weight$")


@dataclass(frozen=True)
class Cost:
    """Counts over a whole model.

    Attributes:
        parameters: all of them, pruned or not. Tied weights count once.
        nonzero: parameters that are not zero.
        multiply_adds: multiplications with a weight per second of audio. Products of activations
            (attention scores) depend on the length of the audio and are not counted. None if the
            checkpoint does not say how its convolutions are strided.
        nonzero_multiply_adds: those with a weight that is not zero.
    """

    parameters: int
    nonzero: int
    multiply_adds: Optional[int]
    nonzero_multiply_adds: Optional[int]


def count_cost(state: Mapping[str, Any]) -> Cost:
    """Count the parameters and multiply-adds of a checkpoint of fairseq, given as a dict."""
    model: Mapping[str, Tensor] = state["model"]
    rates = _frames_per_second(state)
    tied = {second for _, second in overlapping(model.items())}
    parameters = nonzero = 0
    products, nonzero_products = 0.0, 0.0
    for name, weight in model.items():
        kept = int(weight.count_nonzero())
        if name not in tied:
            parameters += weight.numel()
            nonzero += kept
        if rates and weight.dim() > 1 and not _UNUSED.search(name) and "weight_g" not in name:
            convolution = _CONVOLUTION.search(name)
            rate = rates[int(convolution[1])] if convolution else rates[-1]
            products += rate * weight.numel()
            nonzero_products += rate * kept
    if not rates:
        return Cost(parameters, nonzero, None, None)
    return Cost(parameters, nonzero, round(products), round(nonzero_products))


def _frames_per_second(state: Mapping[str, Any]) -> List[float]:
    """Outputs per second of each convolution of the feature extractor; empty if unknown."""
    config = state.get("cfg") or {}
    try:
        settings = config["model"].get("w2v_args", config["model"]) or config["model"]
        settings = settings.get("model", settings)
        layers = _evaluate(ast.parse(settings["conv_feature_layers"], mode="eval").body)
        rate, rates = float(config["task"].get("sample_rate") or 16000), []
        for _, _, stride in layers:
            rate /= stride
            rates.append(rate)
    except (AttributeError, KeyError, TypeError, ValueError, SyntaxError, ZeroDivisionError):
        return []
    return rates


def _evaluate(node: ast.AST) -> Any:
    """The value of ``[(512, 10, 5)] + [(512, 3, 2)] * 4``, without running it as code."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        values: Tuple[Any, ...] = tuple(map(_evaluate, node.elts))
        return list(values) if isinstance(node, ast.List) else values
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left), _evaluate(node.right)
        if isinstance(node.op, ast.Add) and isinstance(left, list):
            return left + right
        if isinstance(node.op, ast.Mult) and isinstance(left, list) and 0 <= right <= 100:
            return left * right
    raise ValueError("expected lists of tuples of whole numbers, joined by + and *")
