"""The options of decoding, and the generator for ``fairseq-generate`` that they describe."""

import logging
import os
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import OmegaConf

from parp_fairseq.decoding import (
    BeamSearch,
    CtcGenerator,
    GreedyCtcDecoder,
    GreedySearch,
    SearchOptions,
    read_lexicon,
)
from parp_fairseq.decoding.hypotheses_file import HypothesesFile
from parp_fairseq.decoding.language_model import named
from parp_fairseq.decoding.presets import PRESETS

logger = logging.getLogger(__name__)


@dataclass
class DecodingConfig(FairseqDataclass):
    """How ``fairseq-generate`` decodes, beside its own --beam, --nbest, --lm-path, --lm-weight."""

    decoder: ChoiceEnum(["greedy", "lexicon", "lexicon_free"]) = field(
        default="greedy",
        metadata={
            "help": "greedy takes the best symbol of each frame. lexicon searches for words of "
            "`lexicon`, with a language model of words or without one. lexicon_free searches for "
            "symbols, with a language model of symbols or without one. The last two need "
            "flashlight-text (pip install 'parp_fairseq[lm]') and use --beam, --nbest, --lm-path "
            "and --lm-weight of fairseq"
        },
    )
    kenlm: Optional[str] = field(
        default=None,
        metadata={
            "help": "n-gram language model: binary file of KenLM, or ARPA. Of words for the "
            "decoder lexicon, of symbols for lexicon_free. Set --lm-weight too, which is 0 by "
            "default, or `decoding_preset`"
        },
    )
    lexicon: Optional[str] = field(
        default=None,
        metadata={
            "help": "lexicon for the decoder of this name: lines of a word, white space, and the "
            "symbols that spell it, as TWO<tab>T W O |; manifests/lexicon.py writes one"
        },
    )
    decoding_preset: Optional[ChoiceEnum(list(PRESETS))] = field(
        default=None,
        metadata={
            "help": "published values of --lm-weight and `word_score`; values that are given "
            "override it. "
            + "; ".join(
                f"{name}: {p.lm_weight:g}, {p.word_score:g} ({p.source})"
                for name, p in PRESETS.items()
            )
        },
    )
    word_score: Optional[float] = field(
        default=None,
        metadata={
            "help": "decoder lexicon: added to the score for each word; a negative value makes "
            "words fewer. Not given: that of `decoding_preset`, or 0"
        },
    )
    sil_weight: float = field(
        default=0.0,
        metadata={"help": "added to the score for each frame of the word separator |"},
    )
    unk_score: Optional[float] = field(
        default=None,
        metadata={
            "help": "decoder lexicon: added to the score for each unknown word, which may have "
            "any spelling that begins like a word of the lexicon. Not given: no unknown words"
        },
    )
    beam_threshold: float = field(
        default=25.0,
        metadata={"help": "hypotheses that score so much less than the best are dropped"},
    )
    beam_size_token: Optional[int] = field(
        default=None,
        metadata={
            "help": "number of symbols, the likeliest, that are tried in each frame. Not given: all"
        },
    )
    decoder_workers: Optional[int] = field(
        default=None,
        metadata={
            "help": "processes that decode the utterances of a batch side by side; the results do "
            "not depend on it. Not given: one for each core (1 with --decoder greedy)"
        },
    )
    hypotheses_file: Optional[str] = field(
        default=None,
        metadata={
            "help": "write hypotheses as JSON lines to this file, one line for each utterance in "
            "the order of the manifest, with scores and the times of words in seconds"
        },
    )


DECODING_OPTIONS = frozenset(DecodingConfig.__dataclass_fields__)


def build_generator(
    cfg: DecodingConfig,
    generation: Namespace,
    dictionary: Dictionary,
    blank: int,
    language_model: Any = None,
    sample_rate: int = 16000,
    num_utterances: int = 0,
) -> CtcGenerator:
    """The generator that the options describe.

    Args:
        cfg: options of the task.
        generation: options of fairseq: beam, nbest, lm_path, lm_weight.
        dictionary: the target dictionary.
        blank: index of the CTC blank.
        language_model: the model that fairseq loaded from ``generation.lm_path``.
        sample_rate: of the audio, in Hz.
        num_utterances: how many there are, for ``hypotheses_file``.

    Raises:
        FileNotFoundError, ValueError: options or files that do not fit; the message names them.
    """
    if cfg.decoder == "greedy" and not cfg.hypotheses_file:
        build_search(cfg, generation, dictionary, blank, language_model)
        return GreedyCtcDecoder(blank, dictionary.eos())
    output = None
    if cfg.hypotheses_file:
        output = HypothesesFile(Path(cfg.hypotheses_file), num_utterances, dictionary.symbols)
    return CtcGenerator(
        build_search(cfg, generation, dictionary, blank, language_model),
        blank,
        dictionary.eos(),
        dictionary.symbols,
        getattr(generation, "nbest", 1),
        workers(cfg),
        output,
        sample_rate,
    )


def build_search(
    cfg: DecodingConfig,
    generation: Namespace,
    dictionary: Dictionary,
    blank: int,
    language_model: Any = None,
):
    """What decodes one emission; arguments and errors as of :func:`build_generator`."""
    lm_path = getattr(generation, "lm_path", None)
    if cfg.decoder == "greedy":
        _require_unused(cfg, "greedy", kenlm=cfg.kenlm, lexicon=cfg.lexicon, lm_path=lm_path)
        return GreedySearch()
    lexicon = None
    if cfg.decoder == "lexicon":
        if not cfg.lexicon:
            raise ValueError(
                "task.lexicon is null, expected a file: task.decoder is lexicon. "
                "manifests/lexicon.py writes one"
            )
        indices = {s: dictionary.index(s) for s in dictionary.symbols[dictionary.nspecial :]}
        name = f"dict.{cfg.labels}.txt" if getattr(cfg, "labels", None) else "of the labels"
        lexicon = read_lexicon(Path(cfg.lexicon), indices, name)
    else:
        _require_unused(
            cfg, "lexicon_free", lexicon=cfg.lexicon, word_score=cfg.word_score,
            unk_score=cfg.unk_score,
        )  # fmt: skip
    separator = dictionary.index("|") if "|" in dictionary.indices else dictionary.eos()
    options = search_options(cfg, generation)
    model = named(cfg.kenlm, language_model, lm_path)
    if (cfg.kenlm or lm_path) and options.lm_weight == 0:
        logger.warning("the language model has no effect: --lm-weight is 0")
    logger.info(f"decoder {cfg.decoder}: {options}")
    return BeamSearch(options, dictionary.symbols, blank, separator, model, lexicon)


def search_options(cfg: DecodingConfig, generation: Namespace) -> SearchOptions:
    """The options of the search, those of a preset where nothing else is given."""
    lm_weight, word_score = getattr(generation, "lm_weight", 0.0), cfg.word_score
    if cfg.decoding_preset:
        preset = PRESETS[str(cfg.decoding_preset)]
        lm_weight = lm_weight or preset.lm_weight  # 0 is fairseq's default
        word_score = preset.word_score if word_score is None else word_score
    return SearchOptions(
        beam=getattr(generation, "beam", 50),
        beam_threshold=cfg.beam_threshold,
        beam_size_token=cfg.beam_size_token,
        lm_weight=lm_weight,
        word_score=word_score or 0.0,
        unk_score=cfg.unk_score,
        sil_weight=cfg.sil_weight,
    )


def lm_path_of(cfg: DecodingConfig) -> Optional[str]:
    """``--lm-path`` of the config that the task's options are part of; None without one.

    An interpolation would not do: fairseq-hydra-train has no group ``generation``.
    """
    parent = cfg._get_parent() if OmegaConf.is_config(cfg) else None
    return None if parent is None else OmegaConf.select(parent, "generation.lm_path")


def workers(cfg: DecodingConfig) -> int:
    """The number of processes that decode."""
    if cfg.decoder_workers is None:
        return 1 if cfg.decoder == "greedy" else len(os.sched_getaffinity(0))
    if cfg.decoder_workers < 1:
        raise ValueError(f"task.decoder_workers is {cfg.decoder_workers}: expected 1 or more")
    return cfg.decoder_workers


def _require_unused(cfg: DecodingConfig, decoder: str, **options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise ValueError(
                f"{name} is {value}, but the decoder is {decoder}, which does not use it: expected "
                f"another task.decoder than {decoder}, or no {name}"
            )
