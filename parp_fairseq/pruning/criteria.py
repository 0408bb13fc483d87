"""The criteria that come with the package."""

from torch import Tensor

from .criterion import RandomScores, magnitude
from .measuring import Measurement, Measuring
from .registry import register_criterion

register_criterion("magnitude")(magnitude)
register_criterion("random")(RandomScores)


@register_criterion("wanda")
class Wanda(Measuring):
    """|w| ||x||: the magnitude of a weight times the norm of its input feature.

    M. Sun et al., *A Simple and Effective Pruning Approach for Large Language Models*, ICLR 2024.
    """

    asks = ("inputs",)

    def measure(self, name: str, seen: Measurement) -> None:
        self.measured[name] = seen.input_norm

    def __call__(self, name: str, weight: Tensor) -> Tensor:
        return weight.abs() * self.measured[name]


@register_criterion("taylor")
class Taylor(Measuring):
    """|w g|: how much the loss changes, to first order, when the weight becomes zero.

    P. Molchanov et al., *Importance Estimation for Neural Network Pruning*, CVPR 2019. At
    initialisation it is SNIP: N. Lee et al., *SNIP: Single-shot Network Pruning based on Connection
    Sensitivity*, ICLR 2019.
    """

    asks = ("gradient",)

    def measure(self, name: str, seen: Measurement) -> None:
        self.measured[name] = (seen.weight * seen.gradient).abs_()

    def __call__(self, name: str, weight: Tensor) -> Tensor:
        return self.measured[name]


@register_criterion("movement")
class Movement(Measuring):
    """The sum of -w g over all updates: positive where training moves a weight away from zero.

    V. Sanh et al., *Movement Pruning: Adaptive Sparsity by Fine-Tuning*, NeurIPS 2020.
    """

    asks = ("gradient",)

    def measure(self, name: str, seen: Measurement) -> None:
        moved = seen.weight * seen.gradient
        if name in self.measured:
            self.measured[name].sub_(moved)
        else:
            self.measured[name] = moved.neg_()

    def __call__(self, name: str, weight: Tensor) -> Tensor:
        return self.measured[name]


@register_criterion("fisher")
class Fisher(Measuring):
    """The sum of w² g² over all updates: the change of the loss by the diagonal of the Fisher
    information, in place of the Hessian of optimal brain damage.

    L. Theis et al., *Faster gaze prediction with dense networks and Fisher pruning*, 2018.
    """

    asks = ("gradient",)

    def measure(self, name: str, seen: Measurement) -> None:
        squared = (seen.weight * seen.gradient).square_()
        if name in self.measured:
            self.measured[name].add_(squared)
        else:
            self.measured[name] = squared

    def __call__(self, name: str, weight: Tensor) -> Tensor:
        return self.measured[name]
