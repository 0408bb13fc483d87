"""Observer: gives criteria and rules what they ask for, at the end of each update."""

from typing import Any, Callable, Dict, Mapping, Optional, Set

import torch
from torch import Tensor, nn

from .criterion import broken, widened
from .inputs import InputStatistics
from .measuring import ASKED, Measurement, Measuring
from .scope import layer_of

PATIENCE = 50  # updates in which a criterion must have measured every parameter


class Observer:
    """Measures for a criterion and a rule.

    Args:
        criterion, rule: those that measure nothing are left alone.
        params: name -> parameter that is measured.

    Attributes:
        asks: what is needed of each update.
        inputs: sums over the inputs of layers, where they are asked for.

    Raises:
        ValueError: something is asked for that does not exist.
    """

    def __init__(self, criterion: Any, rule: Any, params: Mapping[str, Tensor]):
        self._params = params
        self._measurers: Dict[str, Measuring] = {
            role: one
            for role, one in (("criterion", criterion), ("rule", rule))
            if isinstance(one, Measuring) and one.measures
        }
        self.asks: Set[str] = {asked for one in self._measurers.values() for asked in one.asks}
        unknown = sorted(self.asks - set(ASKED))
        if unknown:
            raise ValueError(f"a criterion or rule asks for {unknown[0]!r}, expected {ASKED}")
        self.inputs: Optional[InputStatistics] = None
        self._missing: Dict[str, Set[str]] = {role: set(params) for role in self._measurers}
        self._updates = 0

    def has_measured(self, role: str) -> bool:
        """Whether the "criterion" or "rule" has measured all parameters, or measures nothing."""
        return not self._missing.get(role)

    def watch(self, network: nn.Module) -> None:
        """Install the hooks that what is asked for needs.

        Raises:
            ValueError: the inputs of a parameter cannot be measured.
        """
        if "inputs" in self.asks:
            self.inputs = InputStatistics(network, self._params)

    def stop(self) -> None:
        """Measure no more, and forget what was measured: the mask stays as it is."""
        if self.inputs is not None:
            self.inputs.remove()
            self.inputs = None
        for one in self._measurers.values():
            one.measured.clear()
        self._measurers, self._missing, self.asks = {}, {}, set()

    def observes(self, prunes: bool) -> bool:
        """Whether an update is measured. ``prunes``: it may end in a prune."""
        return any(one.every_update or prunes for one in self._measurers.values())

    @torch.no_grad()
    def observe(
        self,
        weights: Mapping[str, Tensor],
        gradients: Mapping[str, Optional[Tensor]],
        states: Mapping[str, Mapping[str, Tensor]],
        all_reduce: Optional[Callable[[Tensor], Any]] = None,
        prunes: bool = True,
    ) -> None:
        """Measure one update, before the optimizer's step.

        An update whose gradients overflowed is not measured.

        Args:
            weights: name -> weight, as the optimizer sees it.
            gradients: name -> gradient, None for a parameter that took no part.
            states: name -> state of the optimizer.
            all_reduce: sums a tensor over all ranks, in place.
            prunes: the update may end in a prune.

        Raises:
            CriterionError: after many updates there is a parameter that was never measured.
        """
        took_part = set(weights)
        if "gradient" in self.asks:
            largest = _largest(gradients)
            if not all(value < float("inf") for value in largest.values()):
                if self.inputs is not None:
                    self.inputs.drop_update()
                return
            # Of a layer that took no part, a data-parallel wrapper makes the gradients zero.
            moved = {layer_of(name) for name, value in largest.items() if value > 0}
            took_part = {name for name in largest if layer_of(name) in moved}
        if "optimizer" in self.asks:  # it has no state before its first step
            took_part = {name for name in took_part if states.get(name)}
        if self.inputs is not None:
            layers = self.inputs.end_update(all_reduce)
            took_part = {name for name in took_part if layer_of(name) in layers}
        for name in weights:
            if name in took_part:
                seen = self._seen(name, weights[name], gradients.get(name), states.get(name, {}))
                for role, one in self._measurers.items():
                    if one.every_update or prunes:
                        one.measure(name, seen)
                        self._missing[role].discard(name)
        self._updates += 1
        self._require_patience()

    def _seen(self, name: str, weight: Tensor, gradient: Optional[Tensor], state) -> Measurement:
        asks = self.asks
        return Measurement(
            weight=widened(weight.detach()),
            gradient=widened(gradient.detach()) if "gradient" in asks else None,
            input_norm=self.inputs.norm(name) if self.inputs is not None else None,
            input_mean=self.inputs.mean(name) if self.inputs is not None else None,
            optimizer=state if "optimizer" in asks else {},
        )

    def _require_patience(self) -> None:
        missing = self._missing.get("criterion")
        if missing and self._updates >= PATIENCE:
            name = next(name for name in self._params if name in missing)
            raise broken(
                self._measurers["criterion"],
                f"has measured nothing of {name} in {self._updates} updates: check that it is "
                "trained and that its layer takes part in training",
            )

    def state_dict(self) -> Dict[str, Any]:
        """What was measured, as CPU tensors; empty where nothing measures."""
        if not self._measurers:
            return {}
        return {
            **{
                role: {key: value.cpu() for key, value in one.measured.items()}
                for role, one in self._measurers.items()
            },
            "inputs": {} if self.inputs is None else self.inputs.state_dict(),
            "missing": {role: sorted(missing) for role, missing in self._missing.items()},
            "updates": self._updates,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        if not self._measurers:
            return
        device = next(iter(self._params.values())).device
        for role, one in self._measurers.items():
            one.measured.clear()
            one.measured.update({key: value.to(device) for key, value in state[role].items()})
        if self.inputs is not None:
            self.inputs.load(state["inputs"])
        self._missing = {role: set(missing) for role, missing in state["missing"].items()}
        self._updates = state["updates"]


def _largest(gradients: Mapping[str, Optional[Tensor]]) -> Dict[str, float]:
    """The largest magnitude in each gradient; NaN counts as infinite."""
    present = {name: g for name, g in gradients.items() if g is not None and g.numel()}
    if not present:
        return {}
    norms = [torch.linalg.vector_norm(g.float(), float("inf")) for g in present.values()]
    found = torch.stack(norms).nan_to_num(float("inf"), float("inf")).tolist()
    return dict(zip(present, found))
