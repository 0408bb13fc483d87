"""Pack: the weights of a finetuned network as what differs from the encoder it was trained from.

A pack is a safetensors file. Each weight is stored in one of four ways, the smallest that gives it
back bit for bit:

same    nothing is stored: it equals the encoder's weight
bits    one bit for each element: the encoder's weight where the bit is set, and zero elsewhere
kept    one bit for each element, and the values that are not zero
whole   all values

Without an encoder only the last two are possible. A run in half precision rounds the encoder's
weights, and fairseq saves them as float32: the first two ways say what the encoder is rounded to.
JSON in the file's metadata says which way each
weight is stored, the digests of the encoder and of the result, and holds the settings with which
``parp unpack`` makes a checkpoint again.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .bits import pack as pack_bits
from .bits import popcount, unpack
from .digest import weights_digest
from .mask import Mask
from .mask_file import write_packed
from .scope import encoder_name

FORMAT = "parp-pack"

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_DTYPES = {
    str(dtype).rpartition(".")[2]: dtype
    for dtype in (
        *(torch.float32, torch.float16, torch.bfloat16, torch.float64),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    )
}
_ROUNDINGS = (None, torch.float16, torch.bfloat16)
_PARTS = {"same": (), "bits": ("bits",), "kept": ("bits", "values"), "whole": ("values",)}
WAYS = tuple(_PARTS)


@dataclass(frozen=True)
class Stored:
    """How one weight is stored; ``rounding`` is the type that the encoder's is rounded to."""

    way: str
    dtype: torch.dtype
    shape: torch.Size
    parts: Mapping[str, Tensor]
    rounding: Optional[torch.dtype] = None

    @property
    def nbytes(self) -> int:
        return sum(part.numel() * part.element_size() for part in self.parts.values())


@dataclass(frozen=True)
class Pack:
    """The weights of a network, packed.

    Attributes:
        weights: name in the checkpoint -> how it is stored, in the order of the checkpoint.
        base: digest of the encoder; None for a pack that needs none.
        digest: of the weights that :meth:`unpack` gives.
        settings: what else a checkpoint needs, as JSON can hold it.
    """

    weights: Mapping[str, Stored]
    base: Optional[str]
    digest: str
    settings: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        weights: Mapping[str, Tensor],
        base: Optional[Mapping[str, Tensor]],
        settings: Mapping[str, Any],
    ) -> "Pack":
        """Pack ``weights`` against those of an encoder.

        Args:
            weights: the ``"model"`` of a checkpoint.
            base: the ``"model"`` of the encoder; None packs without one.
            settings: what JSON can hold.

        Raises:
            ValueError: a weight is of a type that cannot be packed, or none is like the encoder's.
        """
        references = _by_canonical_name(base or {})
        stored = {n: _store(n, w, references.get(encoder_name(n))) for n, w in weights.items()}
        if base is not None and not any(one.way in ("same", "bits") for one in stored.values()):
            raise ValueError(
                "no weight of the checkpoint is like one of the base: expected the encoder that it "
                "was trained from; without a base a pack needs none, and is as large as this one"
            )
        digest = None if base is None else weights_digest(base)
        return cls(stored, digest, weights_digest(weights), settings)

    def unpack(self, base: Optional[Mapping[str, Tensor]]) -> Dict[str, Tensor]:
        """The weights, bit for bit.

        Args:
            base: the ``"model"`` of the encoder that the weights were packed against.

        Raises:
            ValueError: another encoder, or none where one is needed; or the pack was changed.
        """
        if self.base is None and base is not None:
            raise ValueError("it was packed without a base: expected none")
        if self.base is not None:
            if base is None:
                raise ValueError(f"it needs the base of digest {self.base} that it was packed with")
            found = weights_digest(base)
            if found != self.base:
                raise ValueError(
                    f"it was packed with a base of digest {self.base}, and the one given has "
                    f"{found}: expected the same weights"
                )
        references = _by_canonical_name(base or {})
        weights = {n: _restore(n, s, references) for n, s in self.weights.items()}
        if weights_digest(weights) != self.digest:
            raise ValueError(
                f"its weights have the digest {weights_digest(weights)}, expected {self.digest}: "
                "the file was changed"
            )
        return weights

    @property
    def mask(self) -> Mask:
        """The mask of the weights that are stored with bits, by canonical names."""
        stored = {
            encoder_name(name): one for name, one in self.weights.items() if "bits" in one.parts
        }
        bits = {name: one.parts["bits"] for name, one in stored.items()}
        return Mask._from_bits(bits, {name: one.shape for name, one in stored.items()}, "", "")

    def save(self, path: Path) -> None:
        """Write the file.

        Raises:
            OSError: it cannot be written; nothing was left behind.
        """
        told = {
            "weights": {
                name: [one.way, _word(one.dtype), list(one.shape), _word(one.rounding)]
                for name, one in self.weights.items()
            },
            "base": self.base,
            "digest": self.digest,
            "settings": self.settings,
        }
        parts = {
            f"{name}:{kind}": part
            for name, one in self.weights.items()
            for kind, part in one.parts.items()
        }
        write_packed(path, parts, told, FORMAT)

    @classmethod
    def load(cls, path: Path) -> "Pack":
        """Read what :meth:`save` wrote. Nothing in the file can run code.

        Raises:
            ValueError: the file is no pack, is cut short or contradicts itself; the message names
                it.
        """
        try:
            with safe_open(path, framework="pt") as file:
                told = _parse((file.metadata() or {}).get(FORMAT))
                weights, expected = {}, []
                for name, (way, dtype, shape, rounding) in told["weights"].items():
                    keys = {kind: f"{name}:{kind}" for kind in _PARTS[way]}
                    expected += keys.values()
                    parts = {kind: file.get_tensor(key) for kind, key in keys.items()}
                    weights[name] = Stored(
                        way, _DTYPES[dtype], torch.Size(shape), parts, _DTYPES.get(rounding)
                    )
                    _require_fit(name, weights[name])
                surplus = set(file.keys()).difference(expected)
                if surplus:
                    raise ValueError(
                        f"it holds tensors that it does not name: {sorted(surplus)[:3]}"
                    )
        except (ValueError, SafetensorError) as error:
            raise ValueError(f"pack {path}: {error}") from None
        return cls(weights, told["base"], told["digest"], told["settings"])


def is_pack(path: Path) -> bool:
    """Whether a safetensors file says that it is a pack."""
    try:
        with safe_open(path, framework="pt") as file:
            return FORMAT in (file.metadata() or {})
    except SafetensorError:
        return False


def _by_canonical_name(weights: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    return {encoder_name(name): weight for name, weight in weights.items()}


def _store(name: str, weight: Tensor, reference: Optional[Tensor]) -> Stored:
    if weight.dtype not in _DTYPES.values() or weight.layout != torch.strided:
        raise ValueError(f"{name} is {weight.dtype} of layout {weight.layout}: it cannot be packed")
    # Bytes are compared, not numbers: -0.0 is another weight than 0.0.
    flat = weight.detach().cpu().contiguous().reshape(-1)
    numbers = _as_integers(flat)
    kept = numbers != 0
    parts: Dict[str, Tensor]
    if reference is not None and reference.shape == weight.shape:
        for rounding in _ROUNDINGS:
            wanted = _as_integers(_rounded(reference, rounding, weight.dtype).reshape(-1))
            if torch.equal(numbers, wanted):
                return Stored("same", weight.dtype, weight.shape, {}, rounding)
            if torch.equal(numbers[kept], wanted[kept]):
                parts = {"bits": pack_bits(kept)}
                return Stored("bits", weight.dtype, weight.shape, parts, rounding)
    num_kept = int(kept.count_nonzero())
    if -(-flat.numel() // 8) + num_kept * flat.element_size() < flat.numel() * flat.element_size():
        parts = {"bits": pack_bits(kept), "values": flat[kept]}
        return Stored("kept", weight.dtype, weight.shape, parts)
    return Stored("whole", weight.dtype, weight.shape, {"values": flat.clone()})


def _restore(name: str, stored: Stored, references: Mapping[str, Tensor]) -> Tensor:
    if stored.way == "whole":
        return stored.parts["values"].clone().view(stored.shape)
    if stored.way == "kept":
        weight = torch.zeros(stored.shape.numel(), dtype=stored.dtype)
        weight[unpack(stored.parts["bits"], weight.shape)] = stored.parts["values"]
        return weight.view(stored.shape)
    reference = references.get(encoder_name(name))
    if reference is None or reference.shape != stored.shape:
        found = "none" if reference is None else f"one of shape {tuple(reference.shape)}"
        raise ValueError(f"{name} has shape {tuple(stored.shape)}, and the base has {found}")
    weight = _rounded(reference, stored.rounding, stored.dtype)
    if stored.way == "bits":
        weight.masked_fill_(~unpack(stored.parts["bits"], stored.shape), 0)
    return weight


def _rounded(reference: Tensor, rounding: Optional[torch.dtype], dtype: torch.dtype) -> Tensor:
    """A contiguous copy of the encoder's weight as a run would save it."""
    reference = reference.detach().cpu()
    if rounding is not None and reference.is_floating_point():
        reference = reference.to(rounding)
    return reference.to(dtype).clone(memory_format=torch.contiguous_format)


def _word(dtype: Optional[torch.dtype]) -> Optional[str]:
    """``float32`` for ``torch.float32``."""
    return None if dtype is None else str(dtype).rpartition(".")[2]


def _as_integers(flat: Tensor) -> Tensor:
    return flat.view(_INTEGERS[flat.element_size()])


def _parse(text: Optional[str]) -> Dict[str, Any]:
    """The metadata, checked as far as it can be without the tensors."""
    if text is None:
        raise ValueError(f"expected {FORMAT} in a safetensors file's metadata, found none")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"its metadata is no JSON: {text[:80]!r}") from None
    valid = (
        isinstance(told, dict)
        and isinstance(told.get("digest"), str)
        and isinstance(told.get("base"), (str, type(None)))
        and isinstance(told.get("settings"), dict)
        and isinstance(told.get("weights"), dict)
    )
    if not valid:
        raise ValueError("its metadata lacks weights, digests or settings")
    for name, one in told["weights"].items():
        if not _is_description(one):
            raise ValueError(
                f"{name} is described as {str(one)[:80]}, expected one of {', '.join(WAYS)}, a "
                "type, a shape and a rounding"
            )
        if told["base"] is None and one[0] in ("same", "bits"):
            raise ValueError(f"{name} is stored as {one[0]!r} in a pack without a base")
    return told


def _is_description(one: Any) -> bool:
    if not (isinstance(one, list) and len(one) == 4 and isinstance(one[2], list)):
        return False
    way, dtype, shape, rounding = one
    return (
        isinstance(way, str)
        and way in WAYS
        and isinstance(dtype, str)
        and dtype in _DTYPES
        and rounding in (None, "float16", "bfloat16")
        and all(type(size) is int and 0 <= size < 1 << 40 for size in shape)
    )


def _require_fit(name: str, stored: Stored) -> None:
    """Raise ValueError where the tensors are not those of the description."""
    count = 1
    for size in stored.shape:
        count *= size
    expected: List[Tuple[str, torch.dtype, int]] = []
    if "bits" in stored.parts:
        expected.append(("bits", torch.uint8, -(-count // 8)))
    if stored.way == "whole":
        expected.append(("values", stored.dtype, count))
    for kind, dtype, size in expected:
        _require(name, kind, stored.parts[kind], dtype, size)
    if "bits" in stored.parts:
        kept = popcount(stored.parts["bits"])
        if int(unpack(stored.parts["bits"], torch.Size([count])).count_nonzero()) != kept:
            raise ValueError(f"{name}: bits are set behind the last of its {count} elements")
        if stored.way == "kept":
            _require(name, "values", stored.parts["values"], stored.dtype, kept)


def _require(name: str, kind: str, part: Tensor, dtype: torch.dtype, size: int) -> None:
    if part.dtype != dtype or part.shape != (size,):
        raise ValueError(
            f"{name}: expected {kind} of type {dtype} and shape ({size},), found {part.dtype} of "
            f"shape {tuple(part.shape)}"
        )
