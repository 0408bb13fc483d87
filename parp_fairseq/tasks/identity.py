"""The identity of a run: all that decides its weights, by content and not by path.

A checkpoint carries the identity of its run. A command that resumes it must describe the same run;
``FREE`` and the comments beside it list what may differ. Files stand for what is in them: the
encoder and ``finetune_from_model`` for their weights, ``mask_file`` for its mask, the training set
for its manifest (without the audio folder in its first line) and its labels. Audio is not read.
A digest costs about a second for each gigabyte, once at the start.
"""

import json
import logging
from argparse import Namespace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

from fairseq.file_io import PathManager
from omegaconf import OmegaConf

from parp_fairseq.pruning import Mask
from parp_fairseq.pruning.digest import weights_digest
from parp_fairseq.pruning.plain_file import load_plain
from parp_fairseq.pruning.weights import without_teacher

from .corpora import corpora_of, mask_files_of

logger = logging.getLogger(__name__)

# Options that a resumed run may change, by the section of the config that they stand in. Sections
# that are not listed (checkpoint, distributed_training, generation, ...) are free as a whole.
FREE = {
    # Of `common` only the seed and the precision decide weights: see _PRECISION.
    "optimization": "max_update max_epoch stop_time_hours stop_min_lr update_freq "
    "debug_param_names",
    "dataset": "num_workers data_buffer_size dataset_impl train_subset valid_subset gen_subset "
    "combine_valid_subsets ignore_unused_valid_subsets validate_interval validate_interval_updates "
    "validate_after_updates fixed_validation_seed disable_validation max_tokens_valid "
    "batch_size_valid max_valid_steps skip_invalid_size_inputs_valid_test num_shards shard_id",
    "criterion": "post_process wer_kenlm_model wer_lexicon wer_lm_weight wer_word_score "
    "wer_sil_weight wer_args",
    "optimizer": "lr tpu",  # optimization.lr
    "lr_scheduler": "max_update lr",
    # By model.max_update freeze_share sets freeze_finetune_updates, which is compared.
    "model": "w2v_path w2v_args data normalize ddp_backend checkpoint_activations "
    "offload_activations min_params_to_wrap max_update",
    "ema": "",
}
_PRECISION = (
    "fp16 memory_efficient_fp16 fp16_no_flatten_grads fp16_init_scale fp16_scale_window "
    "fp16_scale_tolerance on_cpu_convert_precision min_loss_scale threshold_loss_scale bf16 "
    "memory_efficient_bf16 amp amp_batch_retries amp_init_scale amp_scale_window"
)
# Of the task, how utterances become batches; its options of pruning are added as a whole.
_TASK = (
    "labels sample_rate normalize enable_padding max_sample_size min_sample_size num_batch_buckets "
    "text_compression_level mask_per_corpus multi_corpus_keys multi_corpus_sampling_weights "
    "binarized_dataset num_classes init_token separator_token shorten_method "
    "shorten_data_split_list no_shuffle add_prev_output_tokens max_positions"
)
_LEGACY = ("_name", "momentum", "weight_decay")
_LABELS_OF_METHODS = ("method", "mask_file")  # a name, and a path: neither decides a weight

# What stands for the content of a file: how it is called, and the option that names it.
_CONTENT = {
    "encoder": ("the encoder", "model.w2v_path"),
    "finetune_from_model": ("the weights", "checkpoint.finetune_from_model"),
    "mask": ("the mask", "task.mask_file"),
    "manifest": ("the training manifest", "task.data and dataset.train_subset"),
    "training labels": ("the training labels", "task.data and dataset.train_subset"),
    "training data": ("the training data", "task.data and dataset.train_subset"),
}


def config_of_run(cfg: Any) -> Optional[Any]:
    """The config of the whole run, of which ``cfg`` is the section ``task``.

    fairseq gives a task its own section only, and keeps the link to the rest in it. None for a task
    that was built by hand.
    """
    parent = getattr(cfg, "_get_parent", lambda: None)()
    return parent if parent is not None and "optimization" in parent else None


def identity_of(
    cfg: Any, options: Mapping[str, Any], data: Iterable[Tuple[str, str]]
) -> Dict[str, Any]:
    """Name -> plain value of everything that decides the weights of a run.

    Args:
        cfg: the options of the task.
        options: its options of pruning, as plain values.
        data: names of ``_CONTENT`` and digests of the training data.
    """
    identity = {
        f"task.{name}": value for name, value in options.items() if name not in _LABELS_OF_METHODS
    }
    config = config_of_run(cfg)
    if config is not None:
        identity.update(
            _deciding_options(OmegaConf.to_container(config, resolve=True, enum_to_str=True))
        )
    identity.update(data)
    identity.update(_contents(cfg, config))
    return json.loads(json.dumps(identity, default=str))  # as it will be read from a checkpoint


def identity_in(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The identity in what a checkpoint holds beside its weights.

    Checkpoints of the first releases tell only the options of pruning.
    """
    if "identity" in metadata:
        return metadata["identity"]
    return {f"task.{name}": value for name, value in metadata["options"].items()}


def require_same_run(
    identity: Mapping[str, Any], before: Mapping[str, Any], checkpoint: Any
) -> None:
    """Raise ValueError where a run is not the one that wrote ``checkpoint``; name what differs.

    What only one of the two tells is not compared: a release of the plugin may add to it.
    """
    remedy = (
        "give back what the run had, another checkpoint.save_dir for a new run, or "
        "checkpoint.reset_optimizer=true to begin anew from its weights"
    )
    for name, value in identity.items():
        if name == "batch" or name not in before or before[name] == value:
            continue
        if name in _CONTENT:
            what, option = _CONTENT[name]
            raise ValueError(
                f"{what} ({option}) is not that of the run to be resumed ({checkpoint}): "
                f"digest {value}, expected {before[name]}; {remedy}"
            )
        raise ValueError(
            f"{name} is {value!r}, but the run to be resumed has {before[name]!r} "
            f"({checkpoint}): {remedy}"
        )
    if "batch" in identity and "batch" in before:
        _compare_batches(identity["batch"], before["batch"], checkpoint, remedy)


def _compare_batches(now: Mapping, before: Mapping, checkpoint: Any, remedy: str) -> None:
    """The number of ranks may change: with update_freq, so that their product stays, or without."""
    products = [[freq * one["ranks"] for freq in one["update_freq"]] for one in (now, before)]
    if products[0] == products[1]:
        return
    if now["update_freq"] != before["update_freq"]:
        raise ValueError(
            f"optimization.update_freq is {now['update_freq']} on {now['ranks']} ranks, but the "
            f"run to be resumed has {before['update_freq']} on {before['ranks']} "
            f"({checkpoint}): {remedy}"
        )
    logger.warning(
        f"going on with {now['ranks']} ranks where the run began with {before['ranks']}: an update "
        "sees another number of utterances; optimization.update_freq keeps it if ranks x "
        "update_freq stays the same"
    )


def _deciding_options(config: Mapping[str, Any]) -> Iterator[Tuple[str, Any]]:
    for name in ["seed", *_PRECISION.split()]:
        yield f"common.{name}", config["common"].get(name)
    for name in _TASK.split():
        yield f"task.{name}", config["task"].get(name)
    for section, free in FREE.items():
        options = config.get(section) or {}
        if isinstance(options, Namespace):  # of SGD and others without a dataclass: all arguments
            options = {name: getattr(options, name, None) for name in _LEGACY}
        for name, value in options.items():
            if name not in free.split():
                yield f"{section}.{name}", value
    yield (
        "batch",
        {
            "ranks": config["distributed_training"]["distributed_world_size"],
            "update_freq": config["optimization"]["update_freq"],
        },
    )


def speech_digests(cfg: Any) -> Iterator[Tuple[str, str]]:
    """Digests of the manifest and the labels of the training set."""
    data = Path(cfg.data)
    names = [cfg.train_subset]
    by_key = getattr(cfg, "multi_corpus_keys", None) or getattr(cfg, "mask_per_corpus", False)
    if by_key and ":" in cfg.train_subset:
        names = [name for _, name in corpora_of(cfg.train_subset)]
    if getattr(cfg, "mask_per_corpus", False):  # the masks in a checkpoint have these names
        yield "the corpora of dataset.train_subset", ",".join(corpora_in(cfg))
    if not getattr(cfg, "binarized_dataset", False):
        yield "manifest", _lines_digest([data / f"{name}.tsv" for name in names], skip=1)
    yield "training labels", _lines_digest([data / f"{name}.{cfg.labels}" for name in names])


def text_digests(cfg: Any) -> Iterator[Tuple[str, str]]:
    """Digest of the sentences and the labels of the training set, as fairseq-preprocess left them.

    Dictionaries count too: they say what the numbers in the other files mean.
    """
    data, digest = Path(cfg.data), blake2b(digest_size=8)
    files = [path for key in ("input0", "input1", "label") for path in (data / key).glob("*")]
    for path in sorted([*files, data / "label" / f"{cfg.train_subset}.label"]):
        if path.is_file() and path.name.startswith((f"{cfg.train_subset}.", "dict.txt")):
            digest.update(f"{path.relative_to(data)} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    yield "training data", digest.hexdigest()


def _contents(cfg: Any, config: Optional[Any]) -> Iterator[Tuple[str, str]]:
    yield "mask", _masks_digest(cfg)
    if config is None:
        return
    if getattr(config.model, "w2v_path", None):
        yield "encoder", _file_digest(config.model.w2v_path)
    origin = config.checkpoint.finetune_from_model
    if origin is None:
        yield "finetune_from_model", "none"
    elif PathManager.isfile(origin):  # needed at the first start only, and may be gone afterwards
        yield "finetune_from_model", _file_digest(origin)


def _masks_digest(cfg: Any) -> str:
    if not cfg.mask_file:
        return "none"
    files = {"": cfg.mask_file}
    if getattr(cfg, "mask_per_corpus", False):
        files = mask_files_of(cfg.mask_file, corpora_in(cfg))
    return ",".join(format(Mask.load(path).digest(), "08x") for path in files.values())


def corpora_in(cfg: Any) -> List[str]:
    """The keys of the corpora that are trained on."""
    return [key for key, _ in corpora_of(cfg.train_subset)]


def _file_digest(path: str) -> str:
    weights = load_plain(Path(PathManager.get_local_path(path)))["model"]
    return weights_digest(without_teacher(weights))


def _lines_digest(paths, skip: int = 0) -> str:
    """Digest of lines, from the one after ``skip`` on, of each file; missing files have none."""
    digest = blake2b(digest_size=8)
    for path in paths:
        if not path.is_file():
            return "missing"
        for line in path.read_bytes().splitlines()[skip:]:
            digest.update(line.strip() + b"\n")
        digest.update(b"\0")
    return digest.hexdigest()
