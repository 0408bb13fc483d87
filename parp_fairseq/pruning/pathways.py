"""Pathways: one network and a subnetwork of it for each corpus, such as one for each language.

The corpora are trained in turn over shared weights (Yang et al., *Learning ASR pathways*, 2022).
A batch of one corpus sees its subnetwork and trains it. What lies outside stays as it is, for the
other corpora. Masks that move (Xie et al., *Dynamic ASR pathways*, 2023) are selected from the
shared weights, each by the schedule and the measurements of its own corpus.
"""

from typing import Any, Dict, List, Mapping, Optional

from torch import Tensor, nn

from .mask import Mask
from .observer import Observer
from .pruner import Pruner
from .shared_subnetwork import SharedSubnetwork
from .subnetwork import Subnetwork


class Switch:
    """Shows one of several subnetworks of a network, or their union.

    Args:
        subnetwork: the network.
        masks: name -> mask.

    Attributes:
        masks: the same.
        union: the mask that keeps what one of them keeps.
    """

    def __init__(self, subnetwork: Subnetwork, masks: Mapping[str, Mask]):
        self.subnetwork, self.masks = subnetwork, dict(masks)
        self.union = Mask.union(self.masks.values())

    def show(self, name: Optional[str] = None) -> None:
        """Hide everything but the subnetwork ``name``; None shows the union.

        Raises:
            KeyError: there is no such subnetwork.
        """
        mask = self.union if name is None else self.masks[name]
        if self.subnetwork.hidden_by is not mask:
            self.subnetwork.restore()
            self.subnetwork.hide(mask)


class Pathways:
    """A pruner for each corpus, over one network. It has the interface of :class:`Pruner`.

    Args:
        pruners: name of a corpus -> its pruner; all of them share one :class:`SharedSubnetwork`.

    Attributes:
        pruners: the same.
        subnetwork: the network.
        updates: name of a corpus -> optimizer updates done with it.
        corpus: the corpus of the batch at hand.

    Raises:
        ValueError: the sparsity of a schedule grows.
    """

    learns_mask = False

    def __init__(self, pruners: Mapping[str, Pruner]):
        self.pruners: Dict[str, Pruner] = dict(pruners)
        self._first: Pruner = next(iter(self.pruners.values()))
        self.subnetwork: SharedSubnetwork = self._first.subnetwork
        self.updates: Dict[str, int] = dict.fromkeys(self.pruners, 0)
        self.corpus: str = next(iter(self.pruners))
        self._switch: Optional[Switch] = None
        if self._first.schedule.grows:
            raise ValueError("initial_sparsity below sparsity is not supported for several masks")

    @property
    def corpora(self) -> List[str]:
        """The names of the corpora."""
        return list(self.pruners)

    @property
    def active(self) -> Pruner:
        """The pruner of the corpus of the batch at hand."""
        return self.pruners[self.corpus]

    @property
    def params(self) -> Dict[str, Tensor]:
        return self.subnetwork.params

    @property
    def prunes(self) -> bool:
        return self._first.prunes

    @property
    def adjust(self) -> bool:
        return self._first.adjust

    @property
    def started(self) -> bool:
        """Whether each corpus has its first mask."""
        return all(pruner.started for pruner in self.pruners.values())

    @property
    def mask(self) -> Optional[Mask]:
        """What the masks that were made until now keep, one or the other of them."""
        masks = [pruner.mask for pruner in self.pruners.values() if pruner.started]
        return Mask.union(masks) if masks else None

    @property
    def initial_mask(self) -> Optional[Mask]:
        """An initial mask: one that leaves nothing of a matrix, if there is one."""
        made = [p.initial_mask for p in self.pruners.values() if p.initial_mask is not None]
        return next((mask for mask in made if mask.emptied), made[0] if made else None)

    @property
    def observer(self) -> Observer:
        return self.active.observer

    def watch(self, network: nn.Module) -> None:
        """See :meth:`Pruner.watch`."""
        for pruner in self.pruners.values():
            pruner.watch(network)

    def measures_after(self, update: int) -> bool:
        """See :meth:`Pruner.measures_after`; the updates of the corpus at hand are what counts."""
        return self.active.measures_after(self.updates[self.corpus] + 1)

    def measure(self, update: int, *args: Any, **kwargs: Any) -> None:
        """See :meth:`Pruner.measure`."""
        self.active.measure(self.updates[self.corpus] + 1, *args, **kwargs)

    def hide(self) -> None:
        """Hide what no mask keeps. Does nothing when a part is hidden."""
        if self.subnetwork.hidden_by is None:
            masks = {name: pruner.subnetwork_mask() for name, pruner in self.pruners.items()}
            self._switch = Switch(self.subnetwork, masks)
            self._switch.show()

    def show(self, corpus: str) -> None:
        """While a part is hidden, show the subnetwork of a corpus.

        Raises:
            KeyError: there is no such corpus.
        """
        self.hide()
        self._switch.show(corpus)

    def restore(self) -> None:
        """Undo :meth:`hide`, bit for bit.

        A batch that is trained keeps its subnetwork: fairseq calls ``model.train()`` inside of it.
        """
        if self._switch is not None:
            self.subnetwork.restore()
            self._switch = None

    def subnetwork_mask(self) -> Mask:
        """The mask that keeps what the mask of some corpus keeps.

        If the subnetwork of one corpus is shown, all of them are shown afterwards.
        """
        if self._switch is not None:
            self._switch.show()
            return self._switch.union
        return Mask.union(pruner.subnetwork_mask() for pruner in self.pruners.values())

    def state_dict(self, subnetwork: Optional[Mask] = None) -> Dict[str, Any]:
        """What training needs beside the weights that some mask keeps.

        Args:
            subnetwork: :meth:`subnetwork_mask`, if it is at hand.

        Returns:
            A dict of plain numbers, dicts and CPU tensors. ``corpora`` has the state of each
            pruner, with the mask of its subnetwork.
        """
        union = self.subnetwork_mask() if subnetwork is None else subnetwork
        masks = self._switch.masks if self._switch is not None else {}
        return {
            "subnetwork": union.state_dict(),
            "hidden": self.subnetwork.outside(union),
            "corpora": {
                name: {"updates": self.updates[name], **pruner.state_dict(masks.get(name))}
                for name, pruner in self.pruners.items()
            },
        }

    def load(
        self, state: Mapping[str, Any], masters: Optional[Mapping[str, Tensor]] = None
    ) -> None:
        """Continue from :meth:`state_dict`. The parameters hold what some mask keeps.

        Raises:
            ValueError: the state is of other parameters or of other corpora.
        """
        found = list(state.get("corpora") or ())
        if found != self.corpora:
            raise ValueError(
                f"the checkpoint holds masks of {', '.join(found) or 'no corpora'}: expected "
                f"{', '.join(self.corpora)}"
            )
        union = Mask.from_state_dict(state["subnetwork"])
        union._require_same_parameters(self.params)
        self.subnetwork.use(masters)
        self.subnetwork.put_back(union, state["hidden"])
        for name, pruner in self.pruners.items():
            pruner.load(state["corpora"][name], masters)
            self.updates[name] = state["corpora"][name]["updates"]


def masks_in(state: Optional[Mapping[str, Any]]) -> Dict[str, Mask]:
    """Name of a corpus -> mask of its subnetwork, of what :meth:`Pathways.state_dict` returned.

    Empty for the state of a single pruner, and for None.
    """
    corpora = (state or {}).get("corpora") or {}
    return {name: Mask.from_state_dict(one["subnetwork"]) for name, one in corpora.items()}
