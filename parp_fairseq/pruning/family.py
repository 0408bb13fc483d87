"""Family: how a library names the parameters of its encoders.

To support another library's models, add a row to :data:`FAMILIES`.
"""

import re
from dataclasses import dataclass
from typing import Iterable, Mapping, Tuple

# Modules that wrap others: DistributedDataParallel and most other wrappers, torch.compile, FSDP,
# activation checkpointing, fairscale's FSDP, Lightning Fabric and Opacus.
_WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module"
    r"|_fpw_module|_forward_module|_module)\."
)
_PEFT = re.compile(r"^base_model\.model\.")


def unwrapped(name: str) -> str:
    """``name`` without the parts that wrappers such as ``DistributedDataParallel`` put into it."""
    return _PEFT.sub("", _WRAPPERS.sub("", name))


@dataclass(frozen=True)
class Family:
    """Encoders whose parameters are named alike.

    A canonical name is relative to the encoder, so that one mask serves a pre-trained and a
    finetuned network: ``encoder.layers.0.fc1.weight``.

    Args:
        title: what a message calls the family.
        scopes: scope -> regular expression that matches the canonical names of the layers it
            covers, without ``.weight`` or ``.bias``. All families have the same scopes.
        root: regular expression of the module that holds the encoder inside a larger network, such
            as ``w2v_model``. Where there is one, parameters outside of it are never covered.
        renames: pairs of a regular expression and its replacement, applied one after another to
            a name relative to the encoder; they give the canonical name.
        normalized: regular expression that matches layers whose weight is computed by weight norm
            in every network of the family. No scope covers those.
    """

    title: str
    scopes: Mapping[str, str]
    root: str
    renames: Tuple[Tuple[str, str], ...] = ()
    normalized: str = r"(?!)"

    def root_of(self, name: str) -> str:
        """What stands before the encoder in ``name``, up to the last root; empty without one."""
        found = re.match(rf"(.*\.)?({self.root})\.", unwrapped(name))
        return found[0] if found else ""

    def canonical(self, name: str) -> str:
        """The canonical name of the parameter that a module or a checkpoint calls ``name``."""
        name = unwrapped(name)[len(self.root_of(name)) :]
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name)
        return name

    def count(self, names: Iterable[str]) -> int:
        """How many of ``names`` are parameters that some scope of the family covers."""
        layer = re.compile(rf"({self.scopes['all']})\.(weight|bias)")
        return sum(bool(layer.fullmatch(self.canonical(name))) for name in names)


_TRANSFORMER = r"(.*\.)?layers\.\d+\.(self_attn\.[kvq]_proj|self_attn\.out_proj|fc1|fc2)"
_FEATURE_EXTRACTOR = r"(.*\.)?feature_extractor\.conv_layers\.\d+\.0"

FAIRSEQ = Family(
    title="fairseq's wav2vec 2.0, HuBERT and data2vec",
    scopes={
        "transformer": _TRANSFORMER,
        "feature_extractor": _FEATURE_EXTRACTOR,
        "all": rf"{_TRANSFORMER}|{_FEATURE_EXTRACTOR}|(.*\.)?post_extract_proj",
    },
    root="w2v_model",
    normalized=r"(.*\.)?pos_conv\.\d+",
)

FAMILIES = (FAIRSEQ,)


def family_of(names: Iterable[str]) -> Family:
    """The family that knows most of ``names``; of equals the first, which is fairseq's."""
    names = list(names)
    return max(FAMILIES, key=lambda family: family.count(names))
