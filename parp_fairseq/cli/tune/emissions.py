"""The emissions and references of a split, computed once, as ``fairseq-generate`` would."""

import logging
from argparse import Namespace
from dataclasses import dataclass
from typing import Any, List

from torch import Tensor
from tqdm import tqdm

from parp_fairseq.decoding.emissions import emissions_of

POST_PROCESS = {"ltr": "letter", "spm": "sentencepiece"}


@dataclass(frozen=True)
class Evaluated:
    """What ``parp tune`` decodes.

    Args:
        log_probs: of each utterance, shape ``(frames, symbols)``.
        references: the words of each utterance.
        search: decodes one emission.
        task: of fairseq.
        post_process: what fairseq does with symbols to get words.
    """

    log_probs: List[Tensor]
    references: List[List[str]]
    search: Any
    task: Any
    post_process: str

    def words(self, tokens) -> List[str]:
        """The words that indices of symbols stand for, as ``fairseq-generate`` prints them."""
        dictionary = self.task.target_dictionary
        return dictionary.string(
            tokens,
            self.post_process,
            escape_unk=True,
            extra_symbols_to_ignore={dictionary.eos()},
        ).split()


def compute(args: Namespace) -> Evaluated:
    """Run the checkpoint over the split that ``parp tune`` was given.

    Raises:
        FileNotFoundError, ValueError: options or files that do not fit; the message names them.
    """
    import torch
    from fairseq import checkpoint_utils, options, tasks, utils
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    import parp_fairseq.tasks.parp  # noqa: F401  (registers the task)
    from parp_fairseq.tasks.decoding import build_search

    if not args.checkpoint.is_file():
        raise FileNotFoundError(f"checkpoint {args.checkpoint} does not exist")
    logging.getLogger().setLevel(logging.WARNING)  # importing fairseq makes all libraries talk
    parser = options.get_generation_parser(default_task="parp")
    cfg = convert_namespace_to_omegaconf(
        options.parse_args_and_arch(parser, [str(args.data), *fairseq_options(args)])
    )
    task = tasks.setup_task(cfg.task)
    models, saved = checkpoint_utils.load_model_ensemble([str(args.checkpoint)], task=task)
    task.load_dataset(args.split, task_cfg=saved.task)
    language_model = None
    if args.lm_path:
        overrides = {"data": str(args.data)}
        [language_model], _ = checkpoint_utils.load_model_ensemble(
            [str(args.lm_path)], arg_overrides=overrides, task=None
        )
    use_cuda = torch.cuda.is_available() and not args.cpu
    for model in filter(None, (*models, language_model)):
        if use_cuda:
            model.cuda()
        model.prepare_for_inference_(cfg)
    dictionary = task.target_dictionary
    blank = dictionary.index(task.blank_symbol)
    search = build_search(cfg.task, cfg.generation, dictionary, blank, language_model)
    post_process = cfg.common_eval.post_process
    evaluated = Evaluated([], [], search, task, post_process)
    batches = task.get_batch_iterator(
        task.dataset(args.split), max_tokens=args.max_tokens, ignore_invalid_inputs=True
    ).next_epoch_itr(shuffle=False)
    for sample in tqdm(batches, "running the checkpoint", unit="batch", disable=None):
        sample = utils.move_to_cuda(sample) if use_cuda else sample
        emissions = emissions_of(models, sample["net_input"], task.cfg.sample_rate)
        evaluated.log_probs.extend(emission.log_probs for emission in emissions)
        for target in sample["target"].cpu():
            target = utils.strip_pad(target, dictionary.pad())
            evaluated.references.append(evaluated.words(target.int()))
    if not any(evaluated.references):
        raise ValueError(f"split {args.split} has no words to compare with")
    return evaluated


def decoder_options(args: Namespace) -> List[str]:
    """The options of decoding, as ``fairseq-generate`` takes them, without the weights."""
    pairs = {
        "--decoder": args.decoder,
        "--lexicon": args.lexicon,
        "--kenlm": args.kenlm,
        "--lm-path": args.lm_path,
        "--beam": args.beam,
        "--beam-threshold": args.beam_threshold,
        "--beam-size-token": args.beam_size_token,
        "--sil-weight": args.sil_weight or None,
    }
    return [str(part) for pair in pairs.items() if pair[1] is not None for part in pair]


def fairseq_options(args: Namespace) -> List[str]:
    """All options that ``parp tune`` runs fairseq with."""
    post_process = args.post_process or POST_PROCESS.get(args.labels)
    return [
        *("--task", "parp", "--labels", args.labels, "--path", str(args.checkpoint)),
        *("--gen-subset", args.split, "--max-tokens", str(args.max_tokens)),
        *(["--post-process", post_process] if post_process else []),
        *(["--cpu"] if args.cpu else []),
        *("--lm-weight", "1"),  # of no account: every weight is tried
        *decoder_options(args),
    ]
