"""A learned mask: the weights are frozen, and a score for each decides whether it is kept.

As in S3-Router (Fu et al., NeurIPS 2022). With weights W, scores s and a mask m that keeps the
highest |s|, the network computes with W * m, and the straight-through gradient of a score is

    dL/ds = dL/dw * W * sign(s)        for every score, whether its weight is kept or not.

The parameters of the network hold W * m between two updates, so the forward pass costs no more than
that of any network, and their names and shapes do not change. A hook turns their gradients into
those of the scores. During an optimizer step the parameters stand for the scores. A mixed-precision
optimizer keeps float32 copies of what it trains: these copies are then the scores.
"""

from contextlib import contextmanager
from functools import partial
from typing import Any, Dict, Iterator, List, Mapping, Optional

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from .criterion import piece_size
from .initial_scores import InitialScores
from .mask import Mask
from .outside import put_back, take_one
from .subnetwork import Subnetwork


class LearnedSubnetwork(Subnetwork):
    """A subnetwork of frozen weights whose scores are trained.

    :meth:`begin` or :meth:`load` freezes the weights and makes the scores. Until then this is a
    plain :class:`Subnetwork`.

    Args:
        params: name -> parameter. After the start they hold the weights that the mask keeps, and
            zeros.
        initial_scores: the scores to start from.

    Attributes:
        frozen: name -> the whole weight; empty before the start.
        scores: name -> float32 score of each weight; empty before the start.
    """

    def __init__(self, params: Mapping[str, Tensor], initial_scores: InitialScores):
        super().__init__(params)
        self.initial_scores = initial_scores
        self.frozen: Dict[str, Tensor] = {}
        self.scores: Dict[str, Tensor] = {}
        self._shown: Optional[Mask] = None
        self._held: Optional[Mask] = None  # what the parameters hold; None if it is not known
        self._hooks: List[RemovableHandle] = []

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """What masks are selected by: the scores."""
        return self.scores or self._first_scores()

    def use(self, copies: Optional[Mapping[str, Tensor]]) -> None:
        """Name the float32 copies of a mixed-precision optimizer, in which the scores then are.

        Raises:
            ValueError: the network is of a lower precision than float32, and there are no copies.
        """
        for name, param in self.params.items():
            if not copies and param.dtype not in (torch.float32, torch.float64):
                raise ValueError(
                    f"{name} is {str(param.dtype).rpartition('.')[2]} and the optimizer keeps no "
                    "float32 copy of it: a learned mask is selected by float32 scores"
                )
        super().use(copies)
        if self.scores and copies:
            self.scores = dict(copies)

    @torch.no_grad()
    def begin(self) -> None:
        """Freeze the weights as they are now, and give each its initial score."""
        if not self.frozen:
            frozen = {name: param.detach().clone() for name, param in self.params.items()}
            self._start(frozen, self._first_scores())

    @torch.no_grad()
    def hide(self, mask: Mask) -> None:
        if not self.frozen:
            super().hide(mask)
            return
        self.require_whole()
        if mask is not self._shown:
            self._show(mask)
        self.hidden_by = mask

    @torch.no_grad()
    def restore(self) -> None:
        """Undo :meth:`hide`: the parameters hold what the mask of the last :meth:`apply` keeps."""
        if not self.frozen:
            super().restore()
        elif self.hidden_by is not None:
            if self.hidden_by is not self._shown:
                self._show(self._shown)
            self.hidden_by = None

    @torch.no_grad()
    def apply(self, mask: Mask) -> None:
        """Show what ``mask`` keeps of the frozen weights from now on.

        Raises:
            ValueError: the mask is of other parameters.
            RuntimeError: a part of the network is hidden.
        """
        self.require_whole()
        self._show(mask)
        self._shown = mask

    @torch.no_grad()
    def outside(self, mask: Mask) -> Dict[str, Tensor]:
        """Name -> the frozen weights that ``mask`` prunes, on the CPU."""
        if not self.frozen:
            return super().outside(mask)
        mask._require_same_parameters(self.params)
        return {name: take_one(mask, name, w).cpu() for name, w in self.frozen.items()}

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """Inside this block an optimizer step updates the scores.

        Afterwards the parameters hold what they held before; select a new mask and :meth:`apply`
        it.
        """
        if not self.frozen:
            yield
        elif self._copies:  # the optimizer overwrites the parameters with its copies, the scores
            self._held = None
            try:
                yield
            finally:
                with torch.no_grad():
                    self._show(self._shown)
        else:
            held = {name: param.data for name, param in self.params.items()}
            for name, param in self.params.items():
                param.data = self.scores[name]
            try:
                yield
            finally:
                for name, param in self.params.items():
                    self.scores[name], param.data = param.data, held[name]

    def end(self) -> None:
        """Let go of the gradients, which are those of the weights again."""
        for hook in self._hooks:
            hook.remove()

    def state_dict(self, mask: Mask) -> Dict[str, Any]:
        scores = {name: score.detach().cpu() for name, score in self.scores.items()}
        return {**super().state_dict(mask), "scores": scores}

    @torch.no_grad()
    def load(self, mask: Mask, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`.

        Raises:
            ValueError: the state is of other parameters, or of a mask that is not learned; nothing
                was changed.
        """
        scores = state.get("scores")
        if scores is None or any(
            name not in scores or scores[name].shape != param.shape
            for name, param in self.params.items()
        ):
            raise ValueError("the checkpoint holds no scores of these weights")
        self.require_whole()
        frozen = {name: param.detach().clone() for name, param in self.params.items()}
        put_back(mask, frozen, state["hidden"])
        self._start(frozen, {n: scores[n].to(p.device).float() for n, p in self.params.items()})
        self.apply(mask)

    def _first_scores(self) -> Dict[str, Tensor]:
        with torch.no_grad():
            return {name: self.initial_scores(name, p) for name, p in self.params.items()}

    def _start(self, frozen: Dict[str, Tensor], scores: Dict[str, Tensor]) -> None:
        if self._copies:
            for name, copy in self._copies.items():
                copy.copy_(scores[name])
            scores = dict(self._copies)
        if not self.frozen:
            for name, param in self.params.items():
                hook = partial(self._gradient_of_score, name)
                self._hooks.append(param.register_hook(hook))
        self.frozen, self.scores, self._held = frozen, scores, None

    def _gradient_of_score(self, name: str, gradient: Tensor) -> Tensor:
        of_score = torch.empty_like(gradient, memory_format=torch.contiguous_format)
        parts = (self.scores[name].detach(), self.frozen[name], gradient, of_score)
        # In pieces that stay in the cache of a core.
        size = piece_size(gradient)
        for score, weight, given, out in zip(*(p.reshape(-1).split(size) for p in parts)):
            torch.mul(score.sign().to(given.dtype).mul_(weight), given, out=out)
        return of_score

    def _show(self, mask: Mask) -> None:
        """Have the parameters hold what ``mask`` keeps of the frozen weights."""
        if self._held is None:
            mask.apply_(self.params, self.frozen)
        elif self._held is not mask:
            mask.replace_(self._held, self.params, self.frozen)
        self._held = mask
