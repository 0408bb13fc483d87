"""The configs of the trainings of a study, composed by Hydra from the recipe and a method."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException


def read_presets(recipes: Path) -> dict[str, dict[str, Any]]:
    """Name of each method in ``recipes/method`` -> its options, such as ``task.adjust``."""
    return {
        path.stem: {
            f"{group}.{option}": value
            for group, options in yaml.safe_load(path.read_text()).items()
            for option, value in options.items()
        }
        for path in sorted((recipes / "method").glob("*.yaml"))
    }


def compose(
    recipes: Path,
    recipe: str,
    overrides: Sequence[Override],
    presets: Mapping[str, Mapping[str, Any]],
    options_by_method: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """The composed config of each method: the recipe, the preset over it, the overrides over both.

    The method's own options come last. fairseq's own defaults are not in it.

    Raises:
        ValueError: there is no such recipe, or it cannot be composed.
    """
    if not (recipes / f"{recipe}.yaml").is_file():
        found = ", ".join(sorted(path.stem for path in recipes.glob("*.yaml")))
        raise ValueError(f"recipe is {recipe!r}: expected one of {found}")
    # An option of fairseq that the recipe does not have can be overridden too.
    texts = [
        f"++{one.input_line.lstrip('+')}" if one.type != OverrideType.DEL else one.input_line
        for one in overrides
        if "." in one.key_or_group
    ]
    groups = [one.input_line for one in overrides if "." not in one.key_or_group]
    try:
        with initialize_config_dir(str(recipes), version_base="1.1"):
            config = hydra_compose(recipe, groups + texts)
        plain = OmegaConf.to_container(config, resolve=False)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"recipe {recipe}: {' '.join(str(error).split())}") from None
    overridden = {one.key_or_group for one in overrides}
    composed = {}
    for method, preset in presets.items():
        composed[method] = {group: dict(options) for group, options in plain.items()}
        free = {key: value for key, value in preset.items() if key not in overridden}
        for key, value in {**free, **options_by_method.get(method, {})}.items():
            group, option = key.split(".", 1)
            composed[method].setdefault(group, {})[option] = value
    return composed
