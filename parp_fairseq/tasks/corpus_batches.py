"""Batches of one corpus each, which say which one it is."""

from typing import Callable, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from fairseq.data import BaseWrapperDataset, ConcatDataset, FairseqDataset, data_utils
from fairseq.data.multi_corpus_dataset import MultiCorpusDataset

from .refusals import Refusal


def joined(
    datasets: Mapping[str, FairseqDataset], weights: Optional[Sequence[float]]
) -> Tuple[FairseqDataset, List[str]]:
    """Several corpora as one dataset, and the corpus of each index.

    Args:
        datasets: name of a corpus -> its utterances.
        weights: the share of the utterances of an epoch that is drawn from each corpus, as fairseq
            draws it; None takes each utterance once.
    """
    if weights is None:
        sizes = {name: len(dataset) for name, dataset in datasets.items()}
        dataset = _Concatenated(list(datasets.values()))
    else:
        dataset = MultiCorpusDataset(datasets, list(weights), seed=0, sort_indices=True)
        sizes = dict(zip(datasets, dataset.num_instances_per_dataset))
    return dataset, [name for name, size in sizes.items() for _ in range(size)]


class _Concatenated(ConcatDataset):
    """In the order of fairseq's audio datasets: long ones first, and equal ones at random."""

    def ordered_indices(self):
        return np.lexsort([np.random.permutation(len(self)), self.sizes])[::-1]


class CorpusBatches(BaseWrapperDataset):
    """A dataset whose batches are of one corpus each, and tell it under ``"corpus"``.

    The order of the batches is final: have the iterator shuffle nothing.

    Args:
        dataset: the utterances.
        corpus_of: the corpus of each index.
        seed: shuffles the batches of an epoch; None leaves them in order.
        per_update: returns the number of batches that an update of the given epoch takes, over all
            ranks. As many batches of one corpus always follow each other, so that an update is of
            one corpus.
    """

    def __init__(
        self,
        dataset: FairseqDataset,
        corpus_of: Sequence[str],
        seed: Optional[int] = None,
        per_update: Callable[[int], int] = lambda epoch: 1,
    ):
        super().__init__(dataset)
        self.corpus_of = corpus_of
        self.seed, self.per_update = seed, per_update
        self.epoch = 1

    def __getitem__(self, index):
        return {**self.dataset[index], "corpus": self.corpus_of[index]}

    def collater(self, samples):
        batch = super().collater(samples)
        return {**batch, "corpus": samples[0]["corpus"]} if batch else batch

    def set_epoch(self, epoch):
        super().set_epoch(epoch)
        self.epoch = epoch

    def filter_indices_by_size(self, indices, max_sizes):
        return data_utils._filter_by_size_dynamic(indices, self.size, max_sizes)

    def batch_by_size(
        self, indices, max_tokens=None, max_sentences=None, required_batch_size_multiple=1
    ):
        """As in fairseq, for each corpus by itself, and without leaving any index out.

        Raises:
            Refusal: a corpus has too few utterances for an update.
        """
        by_corpus = {name: [] for name in self.corpus_of}
        for index in indices:
            by_corpus[self.corpus_of[index]].append(index)
        per_update, groups = self.per_update(self.epoch), []
        with data_utils.numpy_seed(self.seed, self.epoch):
            for corpus, of_corpus in by_corpus.items():
                batches = self._batches(
                    of_corpus, max_tokens, max_sentences, required_batch_size_multiple
                )
                if self.seed is not None:
                    batches = _split_to_multiple(corpus, batches, per_update)
                    np.random.shuffle(batches)
                starts = range(0, len(batches), per_update)
                groups += [batches[start : start + per_update] for start in starts]
            if self.seed is not None:
                np.random.shuffle(groups)
        return [batch for group in groups for batch in group]

    def _batches(self, indices, max_tokens, max_sentences, multiple) -> List[List[int]]:
        made = []
        # fairseq 0.12.3 drops the last batch when its size is no multiple of this.
        for size in (multiple, 1):
            rest = np.array(indices[sum(map(len, made)) :], dtype=np.int64)
            if len(rest):
                made += FairseqDataset.batch_by_size(self, rest, max_tokens, max_sentences, size)
        return [list(batch) for batch in made]


def _split_to_multiple(corpus: str, batches: List[List[int]], multiple: int) -> List[List[int]]:
    """Cut the largest batches in halves until their number is a multiple of ``multiple``."""
    batches = list(batches)
    while len(batches) % multiple:
        largest = max(range(len(batches)), key=lambda place: len(batches[place]))
        batch = batches.pop(largest)
        if len(batch) == 1:
            raise Refusal(
                f"the corpus {corpus} has {len(batches) + 1} utterances in an epoch, and an update "
                f"takes {multiple} batches of one corpus (optimization.update_freq x ranks): "
                f"expected {multiple} utterances or more, or a smaller update_freq"
            )
        batches += [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
    return batches


def keep_order(batches) -> None:
    """Have an iterator of fairseq take the batches of a :class:`CorpusBatches` in their order.

    Raises:
        ValueError: it makes its batches once, so that their order would be the same in each epoch.
    """
    if not callable(batches.batch_sampler):
        raise ValueError(
            "task.rebuild_batches is false: expected true, because task.mask_per_corpus=true "
            "shuffles batches as it makes them"
        )
    batches.disable_shuffling, batches.shuffle = True, False
