"""Subnetwork: one network and any number of masks over it.

The network is whole until a mask hides what it prunes::

    masks = {"french": Mask.load("fr.safetensors"), "dutch": Mask.load("nl.safetensors")}
    subnetwork = Subnetwork(prunable_parameters(model))
    with subnetwork.hidden(masks["french"]):
        evaluate(model)
"""

from contextlib import contextmanager
from typing import Any, Dict, Iterator, Mapping, Optional

import torch
from torch import Tensor

from .mask import Mask
from .outside import put_back, take, take_one


class Subnetwork:
    """Hides and restores what masks prune of ``params``.

    Args:
        params: name -> parameter; changed in place.

    Attributes:
        params: the same.
        hidden_by: the mask that hides a part of the network now; None while it is whole.
    """

    zeroes = True  # whether apply() sets weights to zero

    def __init__(self, params: Mapping[str, Tensor]):
        self.params: Dict[str, Tensor] = dict(params)
        self._copies: Optional[Mapping[str, Tensor]] = None
        self.hidden_by: Optional[Mask] = None
        self._hidden: Dict[str, Tensor] = {}

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The parameters as an optimizer sees them, from which masks are selected."""
        return self._copies or self.params

    def use(self, copies: Optional[Mapping[str, Tensor]]) -> None:
        """Name the float32 copies that a mixed-precision optimizer keeps of the parameters.

        :meth:`apply`, :meth:`outside` and :meth:`put_back` work on them too. ``None``: there are no
        copies. A parameter without a copy stands for itself.
        """
        self._copies = copies

    def begin(self) -> None:
        """Called once, before the first :meth:`apply`."""

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """``with subnetwork.stepping(): optimizer.step()`` updates what is trained.

        That is the weights themselves here.
        """
        yield

    @torch.no_grad()
    def hide(self, mask: Mask) -> None:
        """Set what ``mask`` prunes to zero, and remember the values.

        If it fails, for example because memory runs out, all weights are as they were.

        Raises:
            ValueError: the mask is of other parameters.
            RuntimeError: a part of the network is hidden already.
        """
        self.require_whole()
        mask._require_same_parameters(self.params)
        values = take(mask, self.params)
        try:
            mask.apply_(self.params)
        except BaseException:
            put_back(mask, self.params, values)
            raise
        self._hidden, self.hidden_by = values, mask

    @torch.no_grad()
    def restore(self) -> None:
        """Undo :meth:`hide`, bit for bit. Does nothing while the network is whole."""
        if self.hidden_by is not None:
            put_back(self.hidden_by, self.params, self._hidden)
            self._hidden, self.hidden_by = {}, None

    @contextmanager
    def hidden(self, mask: Mask) -> Iterator[None]:
        """``with subnetwork.hidden(mask):`` hides at the start and restores at the end."""
        self.hide(mask)
        try:
            yield
        finally:
            self.restore()

    @torch.no_grad()
    def apply(self, mask: Mask) -> None:
        """Set what ``mask`` prunes to zero for good, in the parameters and in their copies.

        Raises:
            ValueError: the mask is of other parameters.
            RuntimeError: a part of the network is hidden.
        """
        self.require_whole()
        mask.apply_(self.params)
        if self.weights is not self.params:
            mask.apply_(self.weights)

    @torch.no_grad()
    def mask_gradients(self, mask: Mask) -> None:
        """Set the gradients of what ``mask`` prunes to zero."""
        for name, param in self.params.items():
            if param.grad is not None:
                param.grad.mul_(mask[name].to(param.device))

    def end(self) -> None:
        """Called once, when no more updates follow. The parameters stay as they are."""

    @torch.no_grad()
    def outside(self, mask: Mask) -> Dict[str, Tensor]:
        """Name -> the values that ``mask`` prunes, on the CPU, as the optimizer has them.

        Works while the network is whole, or hidden by ``mask`` itself.

        Raises:
            ValueError: the mask is of other parameters.
            RuntimeError: another mask hides a part of the network.
        """
        mask._require_same_parameters(self.params)
        if self.hidden_by is not None and self.hidden_by is not mask:
            self.require_whole()
        # One tensor at a time, so that a GPU never holds a second copy of everything.
        return {name: self._outside_of(mask, name).cpu() for name in self.params}

    def _outside_of(self, mask: Mask, name: str) -> Tensor:
        weight = self.weights[name]
        # Only parameters are hidden; their copies are whole at all times.
        is_param = weight.data_ptr() == self.params[name].data_ptr()
        if self.hidden_by is not None and is_param:
            return self._hidden[name]
        return take_one(mask, name, weight)

    @torch.no_grad()
    def put_back(self, mask: Mask, values: Mapping[str, Tensor]) -> None:
        """Write what :meth:`outside` returned into the parameters and their copies."""
        self.require_whole()
        put_back(mask, self.params, values)
        if self.weights is not self.params:
            put_back(mask, self.weights, values)

    def state_dict(self, mask: Mask) -> Dict[str, Any]:
        """What training needs beside the weights that ``mask`` keeps, as CPU tensors."""
        return {"hidden": self.outside(mask)}

    def load(self, mask: Mask, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`. The parameters hold the weights that ``mask`` keeps."""
        self.put_back(mask, state["hidden"])

    def require_whole(self) -> None:
        """Raise RuntimeError while a mask hides a part of the network."""
        if self.hidden_by is not None:
            raise RuntimeError(
                "a mask hides a part of the network: restore it before it is pruned or hidden again"
            )
