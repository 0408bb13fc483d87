"""Attachment: a model whose eval(), state_dict() and optimizer state are those of a subnetwork."""

from functools import partial
from typing import Any, Dict, Mapping, Optional

from torch import nn
from torch.optim import Optimizer

from parp_fairseq.pruning import Pruner
from parp_fairseq.pruning.training import PrunedTraining

STATE_KEY = "parp"


class Attachment:
    """Ties a pruner to the model and the optimizer that it works on, until :meth:`remove`.

    ``model.train()`` shows the whole network and ``model.eval()`` the subnetwork at the target
    sparsity. ``model.state_dict()`` is sparse in both modes. What training needs beside the weights
    is saved in the first parameter group of ``optimizer.state_dict()``, because an optimizer gives
    back all keys of its groups that it loads; no event tells a callback which folder a run resumes
    from.

    Args:
        model: as it is before it is wrapped for several GPUs.
        optimizer: may be wrapped by Accelerate.
        training: of the model. It has begun.
        options: what decides the masks; a checkpoint remembers them.

    Attributes:
        loaded: whether weights were loaded since the last update: those of the best checkpoint, at
            the end of a training.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        training: PrunedTraining,
        options: Mapping[str, Any],
    ):
        self.model, self.options = model, dict(options)
        self.pruner = pruner = training.pruner
        self.loaded = False
        canonical = {id(param): name for name, param in pruner.params.items()}
        # Tied parameters have several names.
        self.names: Dict[str, str] = {
            name: canonical[id(param)]
            for name, param in model.named_parameters(remove_duplicate=False)
            if id(param) in canonical
        }
        # A module has no hook for train() and eval(). Wrappers call those of the module inside.
        self.former_train = model.__dict__.get("train")
        model.train = partial(_train, model, pruner, self.former_train)
        self.handles = [
            # torch sets an attribute of this hook, which a bound method has no room for.
            model.register_state_dict_post_hook(partial(Attachment._make_sparse, self)),
            model.register_load_state_dict_pre_hook(self._before_loading),
            torch_optimizer(optimizer).register_state_dict_post_hook(self._add_state),
        ]
        # The Trainer clips gradients before it calls anyone.
        self.handles += training.mask_gradients_as_they_come()

    def remove(self) -> None:
        """Leave the model and the optimizer alone from now on."""
        for handle in self.handles:
            handle.remove()
        if self.former_train is None:
            del self.model.__dict__["train"]
        else:
            self.model.__dict__["train"] = self.former_train

    def _make_sparse(self, module, state_dict, prefix: str, local_metadata) -> None:
        mask = self.pruner.subnetwork_mask()
        mask.apply_to_state_(state_dict, lambda key: self.names.get(key[len(prefix) :]))

    def _before_loading(self, *_) -> None:
        self.pruner.restore()  # a later one would write former weights over those that are loaded
        self.loaded = True

    def _add_state(self, optimizer: Optimizer, state_dict: Dict[str, Any]) -> None:
        first, *others = state_dict["param_groups"]
        saved = {"pruner": self.pruner.state_dict(), "options": self.options}
        state_dict["param_groups"] = [{**first, STATE_KEY: saved}, *others]


def take_state(optimizer: Optimizer) -> Optional[Dict[str, Any]]:
    """What an :class:`Attachment` saved in the checkpoint that ``optimizer`` has loaded."""
    return torch_optimizer(optimizer).param_groups[0].pop(STATE_KEY, None)


def torch_optimizer(optimizer: Any) -> Optimizer:
    """The optimizer inside a wrapper of Accelerate."""
    while not isinstance(optimizer, Optimizer) or type(optimizer).__module__.startswith(
        "accelerate."
    ):
        optimizer = optimizer.optimizer
    return optimizer


def _train(model: nn.Module, pruner: Pruner, former: Any, mode: bool = True) -> nn.Module:
    pruner.restore() if mode else pruner.hide()
    return type(model).train(model, mode) if former is None else former(mode)
