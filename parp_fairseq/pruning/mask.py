"""Mask: which weights of a network are kept, one bit a weight, and the files that hold it."""

import zlib
from functools import cached_property
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    MutableMapping,
    Optional,
    Tuple,
    Union,
)

import torch
from safetensors import SafetensorError
from torch import Tensor

from .bits import pack, popcount, positions, unpack
from .kept import as_bool
from .mask_file import read_authors, read_packed, write_packed
from .plain_file import is_safetensors
from .weights import require_prunable

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # bytes of a float -> integer type


class Mask(Mapping[str, Tensor]):
    """Name -> bool tensor, True where the weight is kept. Immutable.

    Args:
        kept: canonical name of a weight -> what is kept of it, in its shape: a bool tensor, or a
            tensor (dense or sparse) or NumPy array of zeros and ones. Also an iterable of pairs of
            the two, which needs memory for one of them at a time.
        scope: the scope that the names come from. It is saved as information for people.
        origin: what the mask was made from, in words. It is saved too.

    Raises:
        ValueError: a value is no tensor or array of zeros and ones, or a name is given twice.
    """

    def __init__(
        self,
        kept: Union[Mapping[str, Tensor], Iterable[Tuple[str, Tensor]]],
        scope: str = "",
        origin: str = "",
    ):
        self._shapes: Dict[str, torch.Size] = {}
        self._bits: Dict[str, Tensor] = {}
        for name, value in kept.items() if isinstance(kept, Mapping) else kept:
            if name in self._shapes:
                raise ValueError(f"the mask of {name} is given twice")
            keep = as_bool(name, value)
            self._shapes[name], self._bits[name] = keep.shape, pack(keep)
        self.scope, self.origin = scope, origin

    @classmethod
    def of_zeros(cls, params: Mapping[str, Tensor], scope: str = "", origin: str = "") -> "Mask":
        """The mask that prunes exactly the weights of ``params`` that are zero.

        Raises:
            ValueError: ``params`` cannot be pruned, or hold a value that is no finite number.
        """
        require_prunable(params)
        for name, weight in params.items():
            if not weight.isfinite().all():
                raise ValueError(f"{name} holds values that are infinite or not a number")
        return cls(((name, weight != 0) for name, weight in params.items()), scope, origin)

    @classmethod
    def _from_bits(
        cls, bits: Dict[str, Tensor], shapes: Dict[str, torch.Size], scope: str, origin: str
    ) -> "Mask":
        for name, shape in shapes.items():
            if bits[name].dtype != torch.uint8 or bits[name].shape != (-(-shape.numel() // 8),):
                raise ValueError(
                    f"{name}: expected {-(-shape.numel() // 8)} bytes for shape {tuple(shape)}, "
                    f"found {bits[name].dtype} of shape {tuple(bits[name].shape)}"
                )
        mask = cls({}, scope, origin)
        mask._bits, mask._shapes = bits, shapes
        return mask

    def __getitem__(self, name: str) -> Tensor:
        return unpack(self._bits[name], self._shapes[name])

    def __contains__(self, name: object) -> bool:
        return name in self._shapes

    def __repr__(self) -> str:
        scope = f", scope {self.scope}" if self.scope else ""
        return (
            f"Mask({self.num_weights:,} weights in {len(self)} parameters, "
            f"sparsity {self.sparsity:.4g}{scope})"
        )

    def packed(self, name: str) -> Tensor:
        """The bits of one weight, eight in a byte, as :func:`bits.unpack` reads them."""
        return self._bits[name]

    def shape(self, name: str) -> torch.Size:
        """The shape of one weight."""
        return self._shapes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask) or self._shapes != other._shapes:
            return False
        return all(
            torch.equal(bits, other._bits[name].to(bits.device))
            for name, bits in self._bits.items()
        )

    __hash__ = None

    @property
    def num_weights(self) -> int:
        """Number of weights that the mask covers."""
        return sum(shape.numel() for shape in self._shapes.values())

    @cached_property
    def num_pruned(self) -> int:
        """Number of weights that are pruned."""
        return self.num_weights - sum(popcount(bits) for bits in self._bits.values())

    @property
    def sparsity(self) -> float:
        """Share of the weights that is pruned, 0 to 1."""
        return self.num_pruned / self.num_weights if self.num_weights else 0.0

    @property
    def emptied(self) -> List[str]:
        """Names of the weights of two or more dimensions that are pruned entirely."""
        matrices = [name for name, shape in self._shapes.items() if len(shape) > 1]
        return [name for name in matrices if not self._bits[name].any()]

    def iou(self, other: "Mask") -> float:
        """Intersection over union of the kept weights (PARP, section 4.3): 1 for equal masks.

        Raises:
            ValueError: the masks cover different parameters; see :meth:`shared_with`.
        """
        self._require_same_parameters(other)
        both = sum(popcount(a & b) for a, b in self._pairs(other))
        either = sum(popcount(a | b) for a, b in self._pairs(other))
        return both / either if either else 1.0

    @classmethod
    def union(cls, masks: Iterable["Mask"]) -> "Mask":
        """The mask that keeps what one or another of ``masks`` keeps.

        Raises:
            ValueError: there are none, or they cover different parameters.
        """
        first, *others = list(masks) or [None]
        if first is None:
            raise ValueError("there are no masks: expected at least one")
        bits = dict(first._bits)
        for other in others:
            first._require_same_parameters(other)
            bits = {name: own | other._bits[name].to(own.device) for name, own in bits.items()}
        return cls._from_bits(bits, first._shapes, first.scope, "")

    def part(self, names: Iterable[str]) -> "Mask":
        """The mask of these weights alone.

        Raises:
            KeyError: the mask does not cover one of them.
        """
        names = list(names)
        bits, shapes = ({name: of[name] for name in names} for of in (self._bits, self._shapes))
        return self._from_bits(bits, shapes, self.scope, self.origin)

    def shared_with(self, other: "Mask") -> Tuple["Mask", "Mask"]:
        """Of this mask and of another one, the parts that both cover; these can be compared.

        Raises:
            ValueError: they share no parameter, or one that they share differs in shape.
        """
        names = [name for name in self if name in other]
        if not names:
            raise ValueError(
                f"the masks share no parameter: one covers {', '.join(list(self)[:3]) or 'none'}, "
                f"the other {', '.join(list(other)[:3]) or 'none'}"
            )
        mine, theirs = self.part(names), other.part(names)
        mine._require_same_parameters(theirs)
        return mine, theirs

    def num_revived(self, before: "Mask") -> int:
        """Number of weights that this mask keeps and ``before`` prunes."""
        self._require_same_parameters(before)
        return sum(popcount(a & ~b) for a, b in self._pairs(before))

    def _pairs(self, other: "Mask") -> Iterator[Tuple[Tensor, Tensor]]:
        return ((bits, other._bits[name].to(bits.device)) for name, bits in self._bits.items())

    def _require_same_parameters(self, other: Mapping[str, Tensor]) -> None:
        """Raise ValueError where names or shapes differ."""
        shapes = (
            other._shapes if isinstance(other, Mask) else {n: t.shape for n, t in other.items()}
        )
        missing, surplus = shapes.keys() - self.keys(), self.keys() - shapes.keys()
        if missing or surplus:
            raise ValueError(
                f"the mask covers other parameters: {len(missing)} missing {sorted(missing)[:3]}, "
                f"{len(surplus)} too many {sorted(surplus)[:3]}"
            )
        for name, shape in shapes.items():
            if shape != self._shapes[name]:
                raise ValueError(
                    f"the mask of {name} has shape {tuple(self._shapes[name])}, "
                    f"expected {tuple(shape)}"
                )

    def digest(self) -> int:
        """CRC-32 of the bits; masks with different bits almost always have different digests."""
        digest = 0
        for bits in self._bits.values():
            digest = zlib.crc32(bits.cpu().numpy(), digest)
        return digest

    def beside(self, params: Mapping[str, Tensor]) -> "Mask":
        """The same mask, with each part on the device of its parameter."""
        bits = {name: bits.to(params[name].device) for name, bits in self._bits.items()}
        return self._from_bits(bits, self._shapes, self.scope, self.origin)

    @torch.no_grad()
    def apply_(
        self, params: Mapping[str, Tensor], source: Optional[Mapping[str, Tensor]] = None
    ) -> None:
        """Set the pruned weights of ``params`` to zero, in place.

        Args:
            params: name -> weight.
            source: where the kept weights are taken from, in tensors of the same names, types and
                shapes; by default they stay as they are.

        Raises:
            ValueError: names or shapes differ from those of the mask, or a weight is no dense
                floating-point tensor with memory of its own. Nothing was changed.
        """
        require_prunable(params)
        self._require_same_parameters(params)
        for name, param in params.items():
            self._write(name, param, param.data if source is None else source[name])

    def _write(self, name: str, param: Tensor, source: Tensor) -> None:
        # As integers: twice as fast as masked_fill_, +0.0 for negative weights, and 0 for NaN.
        integers = INTEGERS[param.element_size()]
        keep = self[name].to(param.device)
        torch.mul(source.view(integers), keep, out=param.data.view(integers))

    def replace_(
        self, before: "Mask", params: Mapping[str, Tensor], source: Mapping[str, Tensor]
    ) -> None:
        """As :meth:`apply_`, where ``params`` hold what ``before`` keeps of ``source``.

        Only weights that one of the two masks prunes and the other one keeps are written.
        """
        for name, param in params.items():
            if not param.is_contiguous() or not source[name].is_contiguous():
                self._write(name, param, source[name])
                continue
            bits, others = (mask._bits[name].to(param.device) for mask in (self, before))
            changed = positions(bits ^ others)
            kept = (bits[changed >> 3] >> (changed & 7) & 1).bool()
            values = source[name].view(-1)[changed]
            param.data.view(-1)[changed] = values.masked_fill_(~kept, 0)

    def apply_to_state_(
        self, state: MutableMapping[str, Tensor], name_of: Callable[[str], Optional[str]]
    ) -> None:
        """Put pruned copies, on the CPU, in the place of the weights of a state dict.

        Args:
            state: key -> tensor; the tensors themselves do not change.
            name_of: the canonical name of a key. Keys that share a name are the same weight.
        """
        copies: Dict[str, Tensor] = {}
        for key in list(state):
            name = name_of(key)
            if name in self:
                if name not in copies:  # one at a time: a GPU has no room for two networks
                    copies[name] = state[key].cpu().masked_fill(~self[name].cpu(), 0)
                state[key] = copies[name]

    def state_dict(self) -> Dict[str, Any]:
        """Plain tensors and numbers on the CPU, to be saved."""
        return {
            "bits": {name: bits.cpu() for name, bits in self._bits.items()},
            "shapes": {name: list(shape) for name, shape in self._shapes.items()},
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "Mask":
        """Undo :meth:`state_dict`."""
        shapes = {name: torch.Size(shape) for name, shape in state["shapes"].items()}
        return cls._from_bits(dict(state["bits"]), shapes, "", "")

    def save(self, path: Union[str, Path]) -> None:
        """Write a safetensors file: one bit for each weight, and shapes, sparsity, scope and
        origin as metadata. Its name may be any.

        Raises:
            OSError: the file cannot be written; nothing was left behind.
        """
        path = Path(path)
        told = {
            "shapes": {name: list(shape) for name, shape in self._shapes.items()},
            "sparsity": self.sparsity,
            "scope": self.scope,
            "origin": self.origin,
        }
        write_packed(path, {name: bits.cpu() for name, bits in self._bits.items()}, told)

    @classmethod
    def load(cls, path: Union[str, Path]) -> "Mask":
        """Read a mask that :meth:`save` wrote, or one of the paper's authors.

        The authors' files are dicts of ``torch.save`` whose keys end in ``.weight_mask`` or
        ``.bias_mask``, with tensors of zeros and ones, dense or sparse, 1 = kept. The content
        decides which of the two a file is, not its name. Neither kind can run code.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file holds no mask; the message names it and says why.
        """
        path = Path(path)
        if path.is_dir():
            raise ValueError(f"mask file {path} is a folder")
        if not path.is_file():
            raise FileNotFoundError(f"mask file {path} does not exist")
        try:
            if not is_safetensors(path):
                return cls(read_authors(path), origin=path.name)
            bits, told = read_packed(path)
            scope, origin = (str(told.get(key) or "") for key in ("scope", "origin"))
            return cls._from_bits(bits, told["shapes"], scope, origin)
        except (ValueError, KeyError, SafetensorError) as error:
            raise ValueError(f"mask file {path}: {error}") from None
