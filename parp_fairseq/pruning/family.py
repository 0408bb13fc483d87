"""Family: how a library names the parameters of its encoders.

To support another library's models, add a row to :data:`FAMILIES`.
"""

import re
from dataclasses import dataclass
from typing import Iterable, Mapping, Optional, Tuple

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
            covers, without ``.weight`` or ``.bias``.
        root: regular expression of the module that holds the encoder inside a larger network, such
            as ``w2v_model``. Where there is one, parameters outside of it are never covered.
        renames: pairs of a regular expression and its replacement, applied one after another to
            a name relative to the encoder; they give the canonical name.
        normalized: regular expression that matches layers whose weight is computed by weight norm
            in every network of the family. No scope covers those.
        whole: regular expression that matches canonical names of matrices inside transformer layers
            that the scopes leave whole on purpose.
        model_type: the ``model_type`` that such networks have in their config, if they are models
            of ``transformers``. It is also the name of a scope: that of ``transformer``.
    """

    title: str
    scopes: Mapping[str, str]
    root: str
    renames: Tuple[Tuple[str, str], ...] = ()
    normalized: str = r"(?!)"
    whole: str = r"(?!)"
    model_type: Optional[str] = None

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

# Models of transformers. A scope covers the matrices of attention and of the feed-forward layers,
# as work on lottery tickets in BERT does: no embeddings, no pooler, no head.


def _bert_like(model_type: str, title: str) -> Family:
    attention = r"attention\.(self\.(query|key|value)|output\.dense)"
    layers = rf"encoder\.layer\.\d+\.((cross)?{attention}|(intermediate|output)\.dense)"
    return Family(
        title=title,
        scopes={"transformer": layers, "all": layers},
        root=model_type,
        whole=r".*\.distance_embedding\.weight",  # of relative positions
        model_type=model_type,
    )


def _wav2vec2_like(model_type: str, title: str) -> Family:
    """The canonical names are those of fairseq, so that masks fit both."""
    transformer = r"encoder\.layers\.\d+\.(self_attn\.([kvq]|out)_proj|fc1|fc2)"
    extractor = r"feature_extractor\.conv_layers\.\d+\.0"
    return Family(
        title=title,
        scopes={
            "transformer": transformer,
            "feature_extractor": extractor,
            "all": rf"{transformer}|{extractor}|post_extract_proj",
        },
        root=model_type,
        renames=(
            (r"^(encoder\.layers\.\d+\.)attention\.", r"\1self_attn."),
            (r"^(encoder\.layers\.\d+\.)layer_norm\.", r"\1self_attn_layer_norm."),
            (r"^(encoder\.layers\.\d+\.)feed_forward\.intermediate_dense\.", r"\1fc1."),
            (r"^(encoder\.layers\.\d+\.)feed_forward\.output_dense\.", r"\1fc2."),
            (r"^(feature_extractor\.conv_layers\.\d+\.)conv\.", r"\g<1>0."),
            (r"^feature_projection\.projection\.", "post_extract_proj."),
            (r"^feature_projection\.layer_norm\.", "layer_norm."),
            (r"^encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
        ),
        normalized=r"encoder\.pos_conv\.0",
        # Of the relative positions of WavLM.
        whole=r".*\.(gru_rel_pos_const|gru_rel_pos_linear\.weight|rel_attn_embed\.weight)",
        model_type=model_type,
    )


_DISTILBERT = r"transformer\.layer\.\d+\.(attention\.([qkv]|out)_lin|ffn\.lin[12])"
_XLNET = r"layer\.\d+\.(rel_attn\.[qkvor]|ff\.layer_[12])"
_WHISPER = r"(encoder|decoder)\.layers\.\d+\.((self|encoder)_attn\.([kvq]|out)_proj|fc1|fc2)"

TRANSFORMERS = (
    _bert_like("bert", "BERT"),
    _bert_like("roberta", "RoBERTa"),
    Family(
        title="DistilBERT",
        scopes={"transformer": _DISTILBERT, "all": _DISTILBERT},
        root="distilbert",
        model_type="distilbert",
    ),
    Family(
        title="XLNet",
        scopes={"transformer": _XLNET, "all": _XLNET},
        root="transformer",
        # The matrices of attention are parameters of the layer itself.
        renames=((r"(\.rel_attn\.[qkvor])$", r"\1.weight"),),
        whole=r".*\.rel_attn\.(r_r_bias|r_s_bias|r_w_bias|seg_embed)",
        model_type="xlnet",
    ),
    _wav2vec2_like("wav2vec2", "wav2vec 2.0 of transformers"),
    _wav2vec2_like("hubert", "HuBERT of transformers"),
    _wav2vec2_like("wavlm", "WavLM"),
    Family(
        title="Whisper",
        scopes={"transformer": _WHISPER, "all": _WHISPER},
        root="model",
        model_type="whisper",
    ),
)

FAMILIES = (FAIRSEQ, *TRANSFORMERS)
_BY_MODEL_TYPE = {family.model_type: family for family in TRANSFORMERS}


def family_of(names: Iterable[str], model_type: Optional[str] = None) -> Family:
    """The family that knows most of ``names``.

    Of equals it is that of ``model_type``, or else the first, which is fairseq's.
    """
    names = list(names)
    return max(
        FAMILIES,
        key=lambda family: (
            family.count(names),
            model_type is not None and family.model_type == model_type,
        ),
    )


def family_called(model_type: object) -> Optional[Family]:
    """The family of this ``model_type``; None where there is none."""
    return _BY_MODEL_TYPE.get(model_type) if isinstance(model_type, str) else None


def model_types() -> Tuple[str, ...]:
    """The ``model_type`` of each family that has one."""
    return tuple(_BY_MODEL_TYPE)
