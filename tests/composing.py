"""Hydra's ``compose`` for hundreds of configs that differ in a few options.

fairseq composes a config of 400 options for each training, which takes Hydra half a second: more
than a training of the tests. Here the options that differ are set in a copy of what was composed
first. tests/test_composing.py holds the two together.
"""

from copy import deepcopy
from typing import Dict, List, Tuple

import fairseq.dataclass.utils
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

hydra_compose = fairseq.dataclass.utils.compose
_composed: Dict[Tuple, Tuple[List[str], DictConfig]] = {}


def compose(name: str, overrides: List[str], strict: bool) -> DictConfig:
    """As Hydra's; configs with other groups or other options are composed by it."""
    options = [override.partition("=")[0] for override in overrides]
    groups = [override for override in overrides if "." not in override.partition("=")[0]]
    key = (name, strict, *options, *groups)
    if key not in _composed:
        _composed[key] = (list(overrides), hydra_compose(name, overrides=overrides, strict=strict))
    known, cfg = _composed[key]
    cfg = deepcopy(cfg)
    others = [override for override, same in zip(overrides, known) if override != same]
    for override in OverridesParser.create().parse_overrides(others):
        OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
    return cfg


def remember_configs() -> None:
    """Let fairseq compose by this module, in this process."""
    fairseq.dataclass.utils.compose = compose
