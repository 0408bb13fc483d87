"""One network whose weights several masks share: no mask zeroes what another may keep."""

from contextlib import contextmanager
from typing import Callable, Dict, Iterator, Mapping

import torch
from torch import Tensor

from .mask import Mask
from .outside import put_back, take, take_one
from .subnetwork import Subnetwork

States = Mapping[str, Mapping[str, Tensor]]


class SharedSubnetwork(Subnetwork):
    """A network that several masks share.

    A mask only hides the rest of the network, for a batch or an evaluation, and protects it while
    the optimizer steps. It never sets a weight to zero for good.
    """

    zeroes = False

    def apply(self, mask: Mask) -> None:
        """Check that ``mask`` fits. The weights stay as they are.

        Raises:
            ValueError: the mask is of other parameters.
            RuntimeError: a part of the network is hidden.
        """
        self.require_whole()
        mask._require_same_parameters(self.params)

    @contextmanager
    def stepping_inside(self, mask: Mask, states: Callable[[], States]) -> Iterator[None]:
        """``with shared.stepping_inside(mask, states): optimizer.step()`` steps inside ``mask``.

        What ``mask`` prunes is the same afterwards, bit for bit: the weights, their float32 copies,
        and what the optimizer remembers of each of these weights. So neither momentum nor weight
        decay reaches outside the mask, and momentum does not fade there.

        Args:
            mask: inside it the step has its effect.
            states: returns name -> the state that the optimizer keeps of a weight. Tensors of the
                shape of the weight are protected. Other state, such as step counters and the row
                sums of Adafactor, is that of the whole weight.

        Raises:
            RuntimeError: a part of the network is hidden.
        """
        self.require_whole()
        weights = take(mask, self.weights)
        remembered = {
            name: {key: take_one(mask, name, value) for key, value in state.items()}
            for name, state in self._elementwise(states()).items()
        }
        try:
            yield
        finally:
            with torch.no_grad():
                put_back(mask, self.params, weights)
                if self.weights is not self.params:
                    put_back(mask, self.weights, weights)
                for name, state in self._elementwise(states()).items():
                    for key, value in state.items():
                        before = remembered.get(name, {}).get(key)
                        if before is None:  # the optimizer has just made it: it starts from zeros
                            before = torch.zeros_like(take_one(mask, name, value))
                        put_back(mask, {name: value}, {name: before})

    def _elementwise(self, states: States) -> Dict[str, Dict[str, Tensor]]:
        """Those parts of the optimizer's state that have a value for each weight."""
        return {
            name: {
                key: value
                for key, value in state.items()
                if isinstance(value, Tensor) and value.shape == self.params[name].shape
            }
            for name, state in states.items()
        }

    def state_dict(self, mask: Mask) -> Dict[str, Dict[str, Tensor]]:
        """Nothing: the weights belong to all masks together."""
        return {}

    def load(self, mask: Mask, state: Mapping[str, object]) -> None:
        """Nothing to do; see :meth:`state_dict`."""
