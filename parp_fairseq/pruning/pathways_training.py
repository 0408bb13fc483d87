"""How a trainer drives :class:`Pathways`: the batch says whose turn it is.

As :class:`training.PrunedTraining`, with two differences: the forward and the backward pass of a
batch run inside ``with training.batch(corpus):``, and all batches of an update are of one corpus.
"""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Callable, Dict, List, Mapping, Optional

from .pathways import Pathways
from .shared_subnetwork import States
from .training import Masters, PrunedTraining

logger = logging.getLogger(__name__)


class PathwaysTraining:
    """Prunes the mask of each corpus when it is due, and keeps updates inside the mask.

    Args:
        pathways: the pruners.
        last_update: updates after which pruning ends; 0 means no limit.
        group: see :class:`PrunedTraining`.

    Attributes:
        trainings: name of a corpus -> what drives its pruner. Its updates are those of the corpus.
        log: what was done.
        states: returns the state that the optimizer keeps of each parameter, see
            :meth:`SharedSubnetwork.stepping_inside`. The trainer sets it once there is an
            optimizer.
    """

    def __init__(
        self, pathways: Pathways, last_update: int = 0, group: Callable[[], Any] = lambda: None
    ):
        self.pathways = pathways
        self.last_update = last_update
        self.trainings = {
            name: PrunedTraining(pruner, group=group, of=name)
            for name, pruner in pathways.pruners.items()
        }
        self.log = PathwaysLog(self.trainings)
        self.states: Callable[[], States] = dict

    @property
    def _active(self) -> PrunedTraining:
        return self.trainings[self.pathways.corpus]

    @property
    def masters(self) -> Callable[[], Masters]:
        """See :class:`PrunedTraining`."""
        return self._active.masters

    @masters.setter
    def masters(self, masters: Callable[[], Masters]) -> None:
        for training in self.trainings.values():
            training.masters = masters

    @property
    def starts_late(self) -> bool:
        """Whether the corpus at hand has no mask yet."""
        return self._active.starts_late

    def begin(self, update: int, epoch: int) -> None:
        """See :meth:`PrunedTraining.begin`."""
        self.log.update = update
        for name, training in self.trainings.items():
            training.begin(self.pathways.updates[name], epoch)

    def begin_epoch(self, epoch: int) -> None:
        """See :meth:`PrunedTraining.begin_epoch`."""
        for training in self.trainings.values():
            training.begin_epoch(epoch)

    def batch(self, corpus: Optional[str]) -> AbstractContextManager:
        """The forward and the backward pass of a batch of ``corpus`` run inside this context.

        The network is the subnetwork of the corpus there, and whole again afterwards. Until a
        corpus has its first mask, its batches see the whole network.

        Raises:
            KeyError: there is no such corpus.
        """
        pruner = self.pathways.pruners[corpus]
        self.pathways.corpus = corpus
        if not pruner.started:
            return nullcontext()
        return self.pathways.subnetwork.hidden(pruner.mask)

    def mask_gradients(self) -> None:
        """See :meth:`PrunedTraining.mask_gradients`."""
        self._active.mask_gradients()

    def stepping(self) -> AbstractContextManager:
        """The optimizer steps inside this context. Outside the mask nothing changes."""
        pruner = self.pathways.active
        if not pruner.started:
            return nullcontext()
        self.pathways.subnetwork.use(self.masters())
        return self.pathways.subnetwork.stepping_inside(pruner.mask, self.states)

    def updated(self, update: int) -> None:
        """Prune the mask of the corpus at hand if that is due. ``update``: updates done in all."""
        corpus = self.pathways.corpus
        self.pathways.updates[corpus] += 1
        self.log.update = update
        self._active.updated(self.pathways.updates[corpus])
        if update == self.last_update:
            self.log.ends()


class PathwaysLog:
    """What pruning did, for the log of a training run.

    Attributes:
        update: optimizer updates done.
    """

    def __init__(self, trainings: Mapping[str, PrunedTraining]):
        self._trainings = trainings
        self.update = 0
        self._ended = False

    def ends(self) -> None:
        """The last update is done."""
        self._ended = True
        self._tell("pruning ends at")

    def saves(self) -> None:
        """A checkpoint is written."""
        if not self._ended and any(one.pruner.started for one in self._trainings.values()):
            self._tell("pruning until")

    def _tell(self, what: str) -> None:
        for name, training in self._trainings.items():
            if training.pruner.started:
                done = f"{training.log.update} of its updates"
                logger.info(
                    f"{what} update {self.update}: {name}, {done}: {training.log.summary()}"
                )

    def metrics(self) -> Dict[str, float]:
        """Means over the corpora, by the names that a single mask has, and the IoU of each."""
        each: Dict[str, Dict[str, float]] = {
            name: training.log.metrics() for name, training in self._trainings.items()
        }
        keys: List[str] = list(next(iter(each.values())))
        means = {key: sum(one[key] for one in each.values()) / len(each) for key in keys}
        return {**means, **{f"mask_iou_{name}": one["mask_iou"] for name, one in each.items()}}
