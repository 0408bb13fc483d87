"""Methods: what the options of each must be, so that a run is what its preset says.

``+method=NAME`` sets ``task.method`` and the options below it. An option given on the command line
wins over the preset, and might turn the run into another method under the same name.
"""

from typing import Any, Callable, Mapping, NamedTuple


class Allowed(NamedTuple):
    """Which values of an option a method allows."""

    holds: Callable[[Any], bool]
    expected: str


def _equal(value: Any) -> Allowed:
    return Allowed(lambda found: found == value, _as_yaml(value))


def _as_yaml(value: Any) -> str:
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


_WEIGHTS_TRAIN = {
    "learn_mask": _equal(False),
    "trainable": Allowed(lambda found: found in (None, "all"), "null"),
    "prune_rule": _equal("parp"),
}
# The first mask of PARP may be random, as any other may be given by a file.
_RANKED_BY_MAGNITUDE = Allowed(lambda found: found in ("magnitude", "random"), "magnitude")


def _parp_by(criterion: str) -> Mapping[str, Allowed]:
    return {"prune_criterion": _equal(criterion), "adjust": _equal(True), **_WEIGHTS_TRAIN}


_GIVEN_FILE = Allowed(lambda found: bool(found), "a mask file (parp mask makes one)")
_FIXED_FROM_FILE = {"adjust": _equal(False), "mask_file": _GIVEN_FILE, **_WEIGHTS_TRAIN}

METHODS: Mapping[str, Mapping[str, Allowed]] = {
    "dense": {
        "sparsity": Allowed(lambda found: found == 0, "0"),
        "mask_file": _equal(None),
        **_WEIGHTS_TRAIN,
    },
    "rp": {
        "prune_criterion": _equal("random"),
        "adjust": _equal(False),
        "mask_file": _equal(None),
        **_WEIGHTS_TRAIN,
    },
    "mpi": {
        "prune_criterion": _equal("magnitude"),
        "adjust": _equal(False),
        "mask_file": _equal(None),
        **_WEIGHTS_TRAIN,
    },
    "omp": _FIXED_FROM_FILE,
    "imp": _FIXED_FROM_FILE,
    "parp": {
        "prune_criterion": _RANKED_BY_MAGNITUDE,
        "adjust": _equal(True),
        "initial_sparsity": _equal(None),
        **_WEIGHTS_TRAIN,
    },
    "parp_p": {
        "prune_criterion": _RANKED_BY_MAGNITUDE,
        "adjust": _equal(True),
        "initial_sparsity": Allowed(lambda found: found is not None, "a sparsity to begin with"),
        **_WEIGHTS_TRAIN,
    },
    "wanda": _parp_by("wanda"),
    "taylor": _parp_by("taylor"),
    "movement": _parp_by("movement"),
    "fisher": _parp_by("fisher"),
    "snip": {
        "prune_criterion": _equal("taylor"),
        "adjust": _equal(False),
        "mask_file": _equal(None),
        **_WEIGHTS_TRAIN,
    },
    "rigl": {**_parp_by("magnitude"), "prune_rule": _equal("rigl")},
    "s3_router": {
        "learn_mask": _equal(True),
        "score_init": Allowed(lambda found: found in ("rank", "random"), "rank or random"),
    },
    "s3_router_p": {"learn_mask": _equal(True), "score_init": _equal("magnitude")},
    "bitfit": {
        "sparsity": Allowed(lambda found: found == 0, "0"),
        "trainable": _equal("bias"),
        "learn_mask": _equal(False),
    },
}


def require_method(options: Mapping[str, Any]) -> None:
    """Raise ValueError where ``options``, of the task, contradict their ``method``.

    Without a method nothing is checked: the options alone say what the run is.
    """
    method = options["method"]
    if method is None:
        return
    if method not in METHODS:
        raise ValueError(f"task.method is {method!r}, expected null or one of {', '.join(METHODS)}")
    for name, allowed in METHODS[method].items():
        found = options[name]
        if not allowed.holds(found):
            raise ValueError(
                f"task.{name} is {_as_yaml(found)}, but task.method is {method} (from "
                f"+method={method}), which needs {allowed.expected}: leave out one of the two"
            )
