"""Scope: which parameters of a network may be pruned, and what they are called."""

import re
import warnings
from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple, Union

import torch
from torch import Tensor, nn

from .computed import owners
from .coverage import Coverage
from .family import FAIRSEQ, Family, family_called, family_of, model_types
from .weights import overlapping, place, require_dense, require_disjoint, require_floats

SCOPES = FAIRSEQ.scopes

Model = Union[nn.Module, Mapping[str, Tensor]]


def encoder_name(name: str) -> str:
    """Canonical name of a parameter of fairseq's encoders, relative to the encoder that holds it.

    The finetuned ``w2v_encoder.w2v_model.encoder.layers.0.fc1.weight`` and the pre-trained
    ``encoder.layers.0.fc1.weight`` are the same parameter.
    """
    return FAIRSEQ.canonical(name)


def canonical_names(names: Iterable[str]) -> Dict[str, str]:
    """Name that a file has -> canonical name, by the family of the file's names.

    Raises:
        ValueError: two names have the same canonical name.
    """
    names = list(names)
    family = family_of(names)
    canonical = {name: family.canonical(name) for name in names}
    _require_distinct(canonical.items())
    return canonical


def prunable_parameters(
    model: Model, scope: str = "transformer", bias: bool = True
) -> Dict[str, Tensor]:
    """The parameters of ``model`` that the scope covers, in the model's order.

    The named scopes are made for wav2vec 2.0, HuBERT and data2vec encoders of fairseq and for some
    models of ``transformers``: BERT, RoBERTa, DistilBERT, XLNet, wav2vec 2.0, HuBERT, WavLM and
    Whisper. Other networks need ``re:<regex>``. :func:`coverage` tells how much of a network a
    scope covers.

    Args:
        model: a module, or a mapping of names to tensors such as a checkpoint's ``"model"``.
        scope: ``transformer`` (k_proj, v_proj, q_proj, out_proj, fc1, fc2 of every layer, or what
            corresponds to them), ``feature_extractor`` (the convolutions of a speech encoder),
            ``all`` (both, and ``post_extract_proj``), or ``re:<regex>``, searched for in the
            canonical names. The ``model_type`` of a model of ``transformers``, such as ``bert``,
            is the scope ``transformer`` for the names of that model. Only a regex can cover
            embeddings, layer norms or the quantizer. No scope covers the head of a finetuned
            network, or a positional convolution under weight norm.
        bias: whether biases inside the scope count.

    Returns:
        canonical name, relative to the encoder and without prefixes of wrappers (``module.``,
        ``_orig_mod.`` and so on) -> parameter. Tied parameters count once, by their first name.

    Raises:
        ValueError: unknown scope, a regex that does not compile, or a scope that covers nothing; a
            covered weight that is computed from other tensors (``torch.nn.utils.prune``, weight
            norm, LoRA) or is no floating-point tensor; several encoders in one network; parameters
            that share memory without being equal.
    """
    return dict(coverage(model, scope, bias).covered)


def coverage(model: Model, scope: str = "transformer", bias: bool = True) -> Coverage:
    """What the scope covers of ``model`` and what it leaves out.

    Arguments and errors are those of :func:`prunable_parameters`. A warning tells of layers that
    are covered in part: a bias without its weight, or some of a transformer layer's matrices.
    """
    family, entries = _entries(model, family_called(scope))
    covers = _matcher(scope, family)
    encoder = [entry for entry in entries if entry.in_encoder]
    chosen = [
        entry
        for entry in encoder
        if covers(entry)
        and not entry.normalized
        and _is_weight(entry)
        and (bias or not entry.canonical.endswith("bias"))
    ]
    if not chosen:
        known = ", ".join(sorted(entry.shown for entry in encoder)[:3]) or "none"
        raise ValueError(
            f"scope {scope!r} covers no parameter of this model, which has {known}, ...; the named "
            f"scopes are made for {family.title}"
        )
    _require_plain(chosen)
    if not scope.startswith("re:"):
        _require_weights_of(chosen)
    names = {entry.name for entry in chosen}
    chosen = _once(chosen)
    _require_one_encoder(chosen)
    _require_distinct((entry.name, entry.canonical) for entry in chosen)
    left_out = [e for e in entries if e.name not in names and _has_memory(e.tensor)]
    _require_separate(chosen, [entry for entry in left_out if not covers(entry)])
    result = Coverage(scope, {e.canonical: e.tensor for e in chosen}, *_left_out(chosen, left_out))
    _warn_of_parts(result, family)
    return result


class _Entry(NamedTuple):
    """A tensor of a network: a parameter, or a part of what computes one."""

    name: str  # as the network calls it
    tensor: Tensor
    shown: str  # the name that a regex is searched for in
    canonical: str  # of the parameter that it belongs to
    cause: Optional[str]  # what computes that parameter
    root: str  # where the encoder is in the network
    in_encoder: bool  # also where the network has no root, and is an encoder itself
    normalized: bool  # a layer that no scope covers


def _entries(model: Model, family: Optional[Family] = None) -> Tuple[Family, List[_Entry]]:
    """The tensors of the network, and the family that it belongs to unless one is given."""
    if isinstance(model, nn.Module):
        named = dict(model.named_parameters(remove_duplicate=False))
        buffers = [name for name, _ in model.named_buffers(remove_duplicate=False)]
    elif isinstance(model, Mapping):
        named, buffers = {name: t for name, t in model.items() if isinstance(name, str)}, []
    else:
        raise ValueError(
            f"found an object of type {type(model).__name__}: expected a module, or a mapping of "
            "names to tensors"
        )
    for name in named:
        if name.rpartition(".")[2] in ("_flat_param", "flat_param"):
            raise ValueError(
                f"{name} is a parameter that FSDP made of many: expected parameters by their own "
                "names; find them before wrapping, or wrap with use_orig_params=True"
            )
    owner = owners([*named, *buffers])
    if family is None:
        family = family_of((owner[name].name for name in named), _model_type(model))
    roots = {name: family.root_of(name) for name in named}
    has_root = any(roots.values())
    entries = []
    for name, tensor in named.items():
        shown, canonical = family.canonical(name), family.canonical(owner[name].name)
        in_encoder = bool(roots[name]) or not has_root
        cause, root = owner[name].cause, roots[name]
        entries.append(_Entry(name, tensor, shown, canonical, cause, root, in_encoder, False))
    # All of such a layer is left alone, its bias too.
    normalized = {
        layer
        for entry in entries
        if entry.cause and re.fullmatch(family.normalized, layer := layer_of(entry.canonical))
    }
    return family, [e._replace(normalized=layer_of(e.canonical) in normalized) for e in entries]


def _model_type(model: Model) -> Optional[str]:
    """The ``model_type`` in the config of a model of ``transformers``, inside its wrappers."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    found = (getattr(getattr(module, "config", None), "model_type", None) for module in modules)
    return next((kind for kind in found if family_called(kind)), None)


def _matcher(scope: str, family: Family) -> Callable[[_Entry], object]:
    """Whether the scope covers an entry, by its names."""
    if not isinstance(scope, str):
        raise ValueError(f"scope is {scope!r}: expected {_known(family)}")
    if scope.startswith("re:"):
        try:
            search = re.compile(scope[3:]).search
        except re.error as error:
            raise ValueError(f"scope {scope!r} is not a regular expression: {error}") from None
        return lambda entry: search(entry.canonical) or search(entry.shown)
    layers = family.scopes.get("transformer" if scope == family.model_type else scope)
    if layers is None:
        raise ValueError(f"unknown scope {scope!r}: expected {_known(family)}")
    matches = re.compile(rf"({layers})\.(weight|bias)").fullmatch
    return lambda entry: matches(entry.canonical)


def _known(family: Family) -> str:
    """The scopes that a network of the family has."""
    return (
        f"{', '.join(family.scopes)} or re:<regex>, or for a model of transformers its model_type, "
        f"one of {', '.join(model_types())}"
    )


def _is_weight(entry: _Entry) -> bool:
    """False for counters, flags and other data of a state dict, which a regex may match."""
    if entry.canonical.rpartition(".")[2] in ("weight", "bias"):
        return True
    return isinstance(entry.tensor, Tensor) and entry.tensor.is_floating_point()


def _has_memory(tensor: Tensor) -> bool:
    return (
        isinstance(tensor, Tensor)
        and tensor.layout == torch.strided
        and not nn.parameter.is_lazy(tensor)
    )


def _require_plain(chosen: Iterable[_Entry]) -> None:
    """Raise ValueError where a weight is computed from other tensors, or is of a wrong kind."""
    computed: Dict[str, Dict[str, None]] = {}  # a dict for its order
    for entry in chosen:
        if entry.cause:
            computed.setdefault(entry.cause, {})[entry.canonical] = None
    if computed:
        told = [f"{_first_of(list(names))} is {cause}" for cause, names in computed.items()]
        raise ValueError(f"the scope covers weights that cannot be pruned: {'; '.join(told)}")
    for entry in chosen:
        require_dense(entry.name, entry.tensor)
        require_floats(entry.name, entry.tensor)


def _require_weights_of(chosen: Iterable[_Entry]) -> None:
    """Raise ValueError where the bias of a layer is covered and its weight is not."""
    names = {entry.canonical for entry in chosen}
    for name in names:
        if f"{layer_of(name)}.weight" not in names:
            raise ValueError(
                f"the scope covers {name}, but the network has no {layer_of(name)}.weight: "
                "expected both to be parameters"
            )


def _once(entries: Iterable[_Entry]) -> List[_Entry]:
    """Without entries that are the same view of the same memory as one before."""
    first: Dict[object, _Entry] = {}
    for entry in entries:
        first.setdefault(place(entry.tensor) if entry.tensor.numel() else entry.name, entry)
    return list(first.values())


def _require_one_encoder(chosen: Iterable[_Entry]) -> None:
    roots = sorted({entry.root for entry in chosen})
    if len(roots) > 1:
        raise ValueError(
            f"the network has {len(roots)} encoders, {', '.join(root[:-1] for root in roots)}, "
            "whose parameters have the same names: expected one, so pass one of these modules"
        )


def _require_distinct(names: Iterable[Tuple[str, str]]) -> None:
    """Raise ValueError where two of the pairs (name, canonical name) have the same second."""
    first: Dict[str, str] = {}
    for name, canonical in names:
        if first.setdefault(canonical, name) != name:
            raise ValueError(
                f"{first[canonical]} and {name} have the same canonical name, {canonical}: "
                "expected one of the two"
            )


def _require_separate(chosen: List[_Entry], left_out: List[_Entry]) -> None:
    """Raise ValueError where a covered parameter shares memory with another one."""
    require_disjoint((entry.name, entry.tensor) for entry in chosen)
    others = {entry.name for entry in left_out}
    for a, b in overlapping((entry.name, entry.tensor) for entry in [*chosen, *left_out]):
        if (a in others) != (b in others):
            covered, other = (b, a) if a in others else (a, b)
            raise ValueError(
                f"{covered} shares memory with {other}, which the scope leaves out: pruning one "
                "would prune the other"
            )


def _left_out(
    chosen: List[_Entry], left_out: List[_Entry]
) -> Tuple[Dict[str, Tensor], Dict[str, Tensor]]:
    """Name -> tensor that is left out, inside the encoder and outside of it.

    Of tensors that share all memory only the first counts, and none that is covered.
    """
    inside: Dict[str, Tensor] = {}
    outside: Dict[str, Tensor] = {}
    for entry in _once([*chosen, *left_out])[len(chosen) :]:
        if not entry.tensor.is_floating_point():
            continue
        if entry.in_encoder:
            inside[entry.name if entry.shown in inside else entry.shown] = entry.tensor
        else:
            outside[entry.name] = entry.tensor
    return inside, outside


def _warn_of_parts(coverage: Coverage, family: Family) -> None:
    """Warn of layers of which only a part is covered."""
    if coverage.biases_alone:
        warnings.warn(
            f"scope {coverage.scope!r} covers {_first_of(coverage.biases_alone)}, and not the "
            "weight of that layer",
            stacklevel=3,
        )
    left_whole = [n for n in coverage.matrices_left_whole if not re.fullmatch(family.whole, n)]
    if left_whole and not coverage.scope.startswith("re:"):
        warnings.warn(
            f"scope {coverage.scope!r} leaves weights of the layers it covers whole: "
            f"{_first_of(left_whole)}; it is made for {family.title}, and "
            "re:<regex> covers any parameters",
            stacklevel=3,
        )


def layer_of(name: str) -> str:
    """The name of the layer that a parameter belongs to."""
    return name.rpartition(".")[0]


def _first_of(names: List[str]) -> str:
    """``names`` in a few words."""
    return names[0] + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")
