"""Transcriber: a finetuned network, a search, and the windows between them and a recording."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Union

import torch
from torch import Tensor
from torch.nn import functional as F

from parp_fairseq.decoding import GreedySearch
from parp_fairseq.decoding.emissions import emissions_of, samples_per_frame
from parp_fairseq.decoding.path import spell

from .loading import load_network
from .passages import Passage, join_windows
from .recording import RATE, BadRecording, Recording
from .windows import SHORTEST, Window, cut


class Word(NamedTuple):
    """A word, or a phone where the network was trained on phones.

    Attributes:
        text: the word.
        start, end: in seconds from the beginning of the recording.
    """

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Transcript:
    """What was said in a recording.

    Attributes:
        words: in order.
        seconds: length of the recording.
    """

    words: Sequence[Word]
    seconds: float

    @property
    def text(self) -> str:
        """The words with spaces between them."""
        return " ".join(word.text for word in self.words)


class Transcriber:
    """Transcribes recordings of any format, sampling rate and length.

    Args:
        network: a ``wav2vec_ctc`` of fairseq.
        symbols: those of its target dictionary, in order.
        blank: index of the CTC blank.
        normalize: whether the network takes normalised audio.
        search: decodes an emission; None takes the best symbol of each frame.
        window: the longest piece of a recording that the network sees at once, in seconds.

    Attributes:
        hop: samples from one frame of the network to the next.

    Raises:
        ValueError: ``window`` is too short.
    """

    def __init__(
        self,
        network: Any,
        symbols: Sequence[str],
        blank: int,
        normalize: bool,
        search: Optional[Callable] = None,
        window: float = 20.0,
    ):
        if not SHORTEST <= window < float("inf"):
            raise ValueError(f"window is {window:g}: expected {SHORTEST:g} seconds or more")
        self.network, self.symbols, self.blank = network, symbols, blank
        self.normalize, self.window = normalize, window
        self.search = search or GreedySearch()
        self._device = next(network.parameters()).device
        self.hop = samples_per_frame(network)
        self._shortest = _receptive_field(network)

    @classmethod
    def load(
        cls,
        checkpoint: Union[str, Path],
        search: Optional[Callable] = None,
        window: float = 20.0,
        cpu: bool = False,
    ) -> "Transcriber":
        """Load a finetuned checkpoint of fairseq, on a GPU where there is one.

        Args:
            checkpoint: the file.
            search, window: see the class.
            cpu: do not use a GPU.

        Raises:
            OSError, ValueError: the file is not a finetuned ``wav2vec_ctc``; the message names it.
        """
        network, task = load_network(Path(checkpoint), cpu)
        dictionary = task.target_dictionary
        blank = dictionary.index(task.blank_symbol)
        return cls(network, dictionary.symbols, blank, task.cfg.normalize, search, window)

    def transcribe(
        self, audio: Union[str, Path], progress: Callable[[float], Any] = lambda seconds: None
    ) -> Transcript:
        """Transcribe an audio file.

        Args:
            audio: the file.
            progress: called after each window with the seconds of audio that it added.

        Raises:
            BadRecording: the file is missing, broken or too short; the message names it.
        """
        recording = Recording(Path(audio))
        words: List[Word] = []
        done = 0

        def emit(window: Window) -> Tensor:
            nonlocal done
            if len(window.samples) < self._shortest:
                raise BadRecording(
                    f"{recording.path} has {len(window.samples)} samples at {RATE} Hz: expected at "
                    f"least {self._shortest}"
                )
            log_probs = self._emit(window)
            end = window.start + len(window.samples)
            progress((end - done) / RATE)
            done = end
            return log_probs

        windows = cut(recording.blocks(), self.window, self.hop)
        for passage in join_windows(windows, emit, self.hop):
            words.extend(self._decode(passage))
        return Transcript(words, done / RATE)

    def _emit(self, window: Window) -> Tensor:
        source = torch.from_numpy(window.samples).to(self._device)
        if self.normalize:
            source = F.layer_norm(source, source.shape)  # as fairseq's datasets do
        net_input = {"source": source[None], "padding_mask": None}
        return emissions_of([self.network], net_input, RATE)[0].log_probs

    def _decode(self, passage: Passage) -> List[Word]:
        path = self.search(passage.log_probs)[0]
        spelling = spell(path, self.blank, self.symbols)
        if spelling.words is None:
            found = [(self.symbols[run.token], run.start, run.end) for run in spelling.runs]
        else:
            found = spelling.words
        return [
            Word(text, *((passage.start + frame * self.hop) / RATE for frame in (start, end)))
            for text, start, end in found
        ]


def _receptive_field(network: Any) -> int:
    """Samples that the feature extractor needs for one frame."""
    extractor = network.w2v_encoder.w2v_model.feature_extractor
    samples = 1
    for block in reversed(extractor.conv_layers):
        samples = (samples - 1) * block[0].stride[0] + block[0].kernel_size[0]
    return samples
