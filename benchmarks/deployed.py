"""What deployment.py measures of finetuned models, in a process of its own."""

import gzip
import io
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import editdistance
import safetensors.torch
import torch
from fresh import peak_gb

from parp_fairseq.transcription import Transcriber


def load(checkpoint: str, int8: bool) -> Transcriber:
    transcriber = Transcriber.load(checkpoint, cpu=True)
    if int8:
        quantise(transcriber.network)
    return transcriber


def recordings_of(split: str, utterances: Optional[int]) -> Tuple[List[Path], List[List[str]]]:
    """The files of a split and their words."""
    folder, *lines = Path(f"{split}.tsv").read_text().splitlines()
    spoken = Path(f"{split}.ltr").read_text().splitlines()[:utterances]
    words = [line.replace(" ", "").replace("|", " ").split() for line in spoken]
    return [Path(folder) / line.split("\t")[0] for line in lines][:utterances], words


def measure_one(checkpoint: str, int8: bool, split: str, utterances: Optional[int] = None) -> Dict:
    """Size, memory and error rate of one model on the recordings of a split, one by one."""
    transcriber = load(checkpoint, int8)
    files, references = recordings_of(split, utterances)
    texts = [transcriber.transcribe(file) for file in files]
    pairs = zip(texts, references)
    errors = sum(editdistance.eval(text.text.split(), words) for text, words in pairs)
    return {
        "gb": peak_gb(),  # before the file of the weights is made
        "wer": 100 * errors / sum(map(len, references)),
        **stored_size(transcriber.network, int8),
    }


def measure_times(
    networks: Dict[str, Tuple[str, bool]],
    split: str,
    repeats: int,
    utterances: Optional[int] = None,
) -> Dict[str, List[float]]:
    """The real-time factor of each network in each repeat: each recording by one after another."""
    transcribers = {name: load(*of) for name, of in networks.items()}
    names = list(networks)
    files, _ = recordings_of(split, utterances)
    factors: Dict[str, List[float]] = {name: [] for name in networks}
    for repeat in range(repeats + 1):
        spent = dict.fromkeys(networks, 0.0)
        seconds = 0.0
        for number, file in enumerate(files):
            first = number % len(names)  # whoever is first reads the file from the disk
            for name in names[first:] + names[:first]:
                start = time.perf_counter()
                transcript = transcribers[name].transcribe(file)
                spent[name] += time.perf_counter() - start
            seconds += transcript.seconds
        if repeat:  # the first one allocates
            for name, time_spent in spent.items():
                factors[name].append(time_spent / seconds)
    return factors


def quantise(network: torch.nn.Module) -> None:
    """Dynamic int8 quantisation of the linear layers, in place."""
    for module in network.modules():
        # Only then does the attention of fairseq call its projections; else it takes their weights.
        if hasattr(module, "skip_embed_dim_check"):
            module.skip_embed_dim_check = True
    torch.ao.quantization.quantize_dynamic(network, {torch.nn.Linear}, torch.qint8, inplace=True)


def stored_size(network: torch.nn.Module, int8: bool) -> Dict[str, int]:
    """Bytes of the weights in a file, plain and compressed."""
    weights = network.state_dict()
    if int8:  # safetensors has no quantised tensors
        file = io.BytesIO()
        torch.save(weights, file)
        stored = file.getvalue()
    else:
        stored = safetensors.torch.save({name: w.contiguous() for name, w in weights.items()})
    return {"bytes": len(stored), "gzip": len(gzip.compress(stored))}


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=UserWarning)
    options = json.loads(sys.argv[2])
    print(json.dumps((measure_times if "networks" in options else measure_one)(**options)))
