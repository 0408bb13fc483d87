"""Registry: criteria and re-prune rules by name, also those that other people write.

::

    from parp_fairseq.pruning import register_criterion

    @register_criterion("relative")
    def relative(name, weight):
        return weight.abs() / weight.norm()
"""

import inspect
from typing import Any, Callable, Dict, List, TypeVar

from .rule import Rule

Registered = TypeVar("Registered", bound=Callable)
_CRITERIA: Dict[str, Callable] = {}
_RULES: Dict[str, Callable] = {}


def register_criterion(name: str) -> Callable[[Registered], Registered]:
    """Decorator: make a criterion known as ``name``, for the option ``prune_criterion``.

    A criterion is a function ``(name, weight) -> scores``, or a class whose instances are called in
    this way; see :mod:`criterion`. A class that also looks at gradients, inputs or the state of the
    optimizer is a subclass of :class:`Measuring`. A class may take the argument ``seed``, the seed
    of the run.

    The criterion ranks the weights for the first mask, and for all later ones unless its attribute
    ``reprunes`` is False; then magnitude does.

    Raises:
        ValueError: the name is taken, or what is registered cannot be called.
    """

    def register(criterion: Registered) -> Registered:
        if not callable(criterion):
            raise ValueError(
                f"criterion {name!r} is {type(criterion).__name__}, expected a function or a class"
            )
        if not hasattr(criterion, "reprunes"):
            criterion.reprunes = True
        return _add("criterion", _CRITERIA, name, criterion)

    return register


def register_rule(name: str) -> Callable[[Registered], Registered]:
    """Decorator: make a subclass of :class:`Rule` known as ``name``, for the option ``prune_rule``.

    Raises:
        ValueError: the name is taken, or what is registered is no subclass of :class:`Rule`.
    """

    def register(rule: Registered) -> Registered:
        if not (isinstance(rule, type) and issubclass(rule, Rule)):
            raise ValueError(f"rule {name!r} is {rule!r}, expected a subclass of Rule")
        return _add("rule", _RULES, name, rule)

    return register


def build_criterion(name: str, seed: int = 0) -> Callable:
    """The criterion that is registered as ``name``.

    Raises:
        ValueError: there is none.
    """
    return _build("criterion", _CRITERIA, name, seed)


def build_rule(name: str, seed: int = 0) -> Rule:
    """The re-prune rule that is registered as ``name``.

    Raises:
        ValueError: there is none.
    """
    return _build("rule", _RULES, name, seed)


def criteria() -> List[str]:
    """Names of all registered criteria."""
    return list(_CRITERIA)


def rules() -> List[str]:
    """Names of all registered re-prune rules."""
    return list(_RULES)


def _add(kind: str, known: Dict[str, Callable], name: str, thing: Any) -> Any:
    if not isinstance(name, str) or not name:
        raise ValueError(f"the name of a {kind} is {name!r}, expected a text")
    if name in known:
        raise ValueError(f"there is a {kind} {name!r} already: {known[name]!r}")
    known[name] = thing
    thing.registered_as = name  # for error messages
    return thing


def _build(kind: str, known: Dict[str, Callable], name: str, seed: int) -> Any:
    if name not in known:
        raise ValueError(
            f"{name!r} is not a registered {kind}: expected one of {', '.join(known)}, or one that "
            f"a module of your own (fairseq's user_dir) registers with register_{kind}"
        )
    thing = known[name]
    if not isinstance(thing, type):
        return thing
    takes_seed = "seed" in inspect.signature(thing).parameters
    return thing(seed=seed) if takes_seed else thing()
