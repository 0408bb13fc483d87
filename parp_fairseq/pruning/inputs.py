"""Inputs: running sums over the inputs of the layers that some parameters belong to.

Hooks collect them while the network trains. A linear layer or a convolution is observed when it is
called. fairseq's attention does not call its projections but reads their weights: of query, key and
value projection the input is that of the attention, and of the output projection it is what
autograd saved for the gradient of its weight.
"""

import math
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Set

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .scope import layer_of

_PROJECTIONS = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}
_OUTPUT = "out_proj"
# Where the backward functions of a linear layer keep its input; autograd documents the prefix.
_SAVED = ("_saved_mat1", "_saved_self", "_saved_input")


class InputStatistics:
    """Mean and root mean square of each input feature of some layers.

    Args:
        network: the network that has the layers.
        params: name -> parameter; the layers are those that they belong to.

    Raises:
        ValueError: a parameter belongs to something else than a linear layer or a convolution.
    """

    def __init__(self, network: nn.Module, params: Mapping[str, Tensor]):
        owners = {id(p): m for m in network.modules() for p in m.parameters(recurse=False)}
        self._layers: Dict[str, nn.Module] = {}
        self._shapes: Dict[str, torch.Size] = {}
        for name, param in params.items():
            owner = owners.get(id(param))
            if not isinstance(owner, (nn.Linear, _ConvNd)):
                raise ValueError(
                    f"{name} belongs to {type(owner).__name__}: inputs can be measured of linear "
                    "layers and convolutions"
                )
            self._layers[layer_of(name)] = owner
            self._shapes[name] = param.shape
        self._device = next(iter(params.values())).device
        # Of each layer: the sums over frames of each feature, of its square, and of ones.
        self._sums: Dict[str, Tensor] = {}
        self._pending: Dict[str, Tensor] = {}
        self._padding: Dict[str, Optional[Tensor]] = {}
        self._called: Set[str] = set()
        self._counting = False
        self._handles: List[Any] = []
        self._observe(network)

    @contextmanager
    def counting(self, anew: bool, counts: bool = True) -> Iterator[None]:
        """Inside this block the forward passes of the network are counted.

        Args:
            anew: an update begins: what the former one left unfinished is dropped.
            counts: False for a batch that does not count.
        """
        if anew:
            self._pending.clear()
        self._counting = counts
        try:
            yield
        except BaseException:
            self._pending.clear()  # the gradients of this update are dropped too
            raise
        finally:
            self._counting = False

    def end_update(self, all_reduce: Optional[Callable[[Tensor], Any]] = None) -> Set[str]:
        """Add what the update has seen to the sums; returns the layers that took part in it.

        Args:
            all_reduce: sums a tensor over all ranks, in place.
        """
        sizes = [2 * _features(layer) + 1 for layer in self._layers.values()]
        pending = [
            self._pending.get(key, torch.zeros(size, dtype=torch.float64, device=self._device))
            for key, size in zip(self._layers, sizes)
        ]
        joined = torch.cat(pending)
        if all_reduce is not None:
            all_reduce(joined)
        self._pending.clear()
        frames, took_part = joined[torch.tensor(sizes).cumsum(0) - 1].tolist(), set()
        for key, seen, count in zip(self._layers, joined.split(sizes), frames):
            if count:
                took_part.add(key)
                self._sums[key] = self._sums[key] + seen if key in self._sums else seen.clone()
        return took_part

    def drop_update(self) -> None:
        """Forget what the update has seen."""
        self._pending.clear()

    def remove(self) -> None:
        """Remove the hooks."""
        while self._handles:
            self._handles.pop().remove()

    def norm(self, name: str) -> Tensor:
        """Root mean square of the input features; see :class:`measuring.Measurement`."""
        return self._feature(name, 1).sqrt_().float()

    def mean(self, name: str) -> Tensor:
        """Mean of the input features."""
        return self._feature(name, 0).float()

    def state_dict(self) -> Dict[str, Tensor]:
        """The sums, as CPU tensors."""
        return {key: sums.cpu() for key, sums in self._sums.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from :meth:`state_dict`."""
        self._sums = {key: sums.to(self._device) for key, sums in state.items()}

    def _feature(self, name: str, place: int) -> Tensor:
        shape, sums = self._shapes[name], self._sums[layer_of(name)]
        if len(shape) < 2:  # the input of a bias
            return sums.new_ones(())
        layer = self._layers[layer_of(name)]
        features = _features(layer)
        values = sums[place * features : (place + 1) * features] / sums[-1]
        if isinstance(layer, nn.Linear):
            return values
        # Each group of output channels has input channels of its own.
        values = values.view(layer.groups, -1).repeat_interleave(shape[0] // layer.groups, 0)
        values = values[:1] if layer.groups == 1 else values
        return values.view(*values.shape, *(1 for _ in shape[2:]))

    # Hooks -------------------------------------------------------------------------------------

    def _observe(self, network: nn.Module) -> None:
        keys = {id(layer): key for key, layer in self._layers.items()}
        add = self._handles.append
        for key, layer in self._layers.items():
            add(layer.register_forward_pre_hook(partial(self._see_call, key)))
        for parent in network.modules():
            names = [name for name, _ in parent.named_children()]
            children = {n: keys[id(c)] for n, c in parent.named_children() if id(c) in keys}
            if children:
                begin = partial(self._begin_parent, tuple(children.values()))
                add(parent.register_forward_pre_hook(begin, with_kwargs=True))
            if children and {*_PROJECTIONS, _OUTPUT} <= set(names):
                see = partial(self._see_attention, children)
                add(parent.register_forward_hook(see, with_kwargs=True))

    def _begin_parent(self, keys, _, args, kwargs) -> None:
        padding = [value for name, value in kwargs.items() if name.endswith("padding_mask")]
        for key in keys:
            self._padding[key] = padding[0] if padding else None
            self._called.discard(key)

    def _see_call(self, key: str, layer: nn.Module, args) -> None:
        self._called.add(key)
        self._add((key,), args[0])

    def _see_attention(self, children, attention: nn.Module, args, kwargs, output) -> None:
        given = {**dict(zip(_PROJECTIONS.values(), args)), **kwargs}
        inputs: Dict[int, list] = {}  # in self-attention all three are one tensor
        for projection, what in _PROJECTIONS.items():
            key = children.get(projection)
            if key is not None and key not in self._called and given.get(what) is not None:
                inputs.setdefault(id(given[what]), [given[what]]).append(key)
        for tensor, *keys in inputs.values():
            self._add(keys, tensor)
        key = children.get(_OUTPUT)
        if key is not None and key not in self._called:
            result = output[0] if isinstance(output, tuple) else output
            saved = _saved_input(result, self._layers[key].in_features)
            if saved is not None:
                self._add((key,), saved.reshape(*result.shape[:-1], -1))

    @torch.no_grad()
    def _add(self, keys, inputs: Tensor) -> None:
        if not self._counting:
            return
        layer = self._layers[keys[0]]
        inputs = inputs.detach().float()
        frames = inputs if isinstance(layer, nn.Linear) else inputs.movedim(1, -1)
        padding = _like(self._padding.get(keys[0]), frames)
        if padding is not None:
            frames = frames.masked_fill(padding, 0)
        number = math.prod(frames.shape[:-1]) - (0 if padding is None else padding.sum())
        frames = frames.reshape(-1, frames.shape[-1])
        ones = torch.as_tensor(number, dtype=torch.float64, device=frames.device).view(1)
        sums = torch.cat([_sum(frames), _sum(frames.square()), ones])
        for key in keys:
            self._pending[key] = self._pending[key] + sums if key in self._pending else sums


def _sum(frames: Tensor) -> Tensor:
    return frames.sum(0, dtype=torch.float64)


def _like(padding: Optional[Tensor], frames: Tensor) -> Optional[Tensor]:
    """A mask of padding, (batch, time), in a shape that broadcasts against ``frames``."""
    if padding is None or frames.dim() != 3:
        return None
    for mask in (padding.t(), padding):  # fairseq's layers have the time first
        if mask.shape == frames.shape[:2]:
            return mask.bool()[..., None]
    return None


def _saved_input(output: Tensor, features: int) -> Optional[Tensor]:
    """The input of the linear layer that made ``output``; None where autograd did not save it."""
    node = output.grad_fn
    for _ in range(4):  # views lie above the linear layer
        if node is None:
            return None
        for name in _SAVED:
            saved = getattr(node, name, None)
            if isinstance(saved, Tensor) and saved.shape[-1] == features:
                return saved
        node = node.next_functions[0][0] if node.next_functions else None
    return None


def _features(layer: nn.Module) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
