"""Inference: a network without half of its feed-forward channels, against the whole one.

Both are wav2vec 2.0, base or large, with random weights, on the same batch of audio. A second peer
is the whole network with the zeros left in, which shows what unstructured zeros would buy.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict

import torch
from fairseq.models.wav2vec import Wav2Vec2Config, Wav2Vec2Model
from omegaconf import OmegaConf

from parp_fairseq.cli.counting.cost import count_cost
from parp_fairseq.pruning import Mask, magnitude, parse_pattern, prunable_parameters
from parp_fairseq.pruning.shrinking import shrink

SIZES = {
    "base": {},
    "large": {
        "extractor_mode": "layer_norm",
        "conv_bias": True,
        "layer_norm_first": True,
        "encoder_layers": 24,
        "encoder_embed_dim": 1024,
        "encoder_ffn_embed_dim": 4096,
        "encoder_attention_heads": 16,
    },
}
SPARSITY = 0.5
CLIPS, SECONDS = 4, 5


def make(size: str, **changes) -> Wav2Vec2Model:
    cfg = OmegaConf.structured(Wav2Vec2Config(**{**SIZES[size], **changes}))
    return Wav2Vec2Model(cfg).eval()


def predicted(model: Wav2Vec2Model) -> int:
    """Multiply-adds with a weight per second of audio."""
    settings = {"conv_feature_layers": model.cfg.conv_feature_layers}
    cfg = {"model": settings, "task": {"sample_rate": 16000}}
    return count_cost({"model": model.state_dict(), "cfg": cfg}).multiply_adds


def size_of(model: Wav2Vec2Model) -> int:
    """Bytes of its weights in a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pt"
        torch.save(model.state_dict(), path)
        return path.stat().st_size


@torch.no_grad()
def shrunk(size: str, repeats: int) -> Dict:
    """Seconds of a batch with each network, in turns; their bytes and multiply-adds."""
    torch.manual_seed(0)
    whole, zeros = make(size), make(size)
    params = prunable_parameters(zeros)
    pattern = parse_pattern("ffn_channels")
    Mask(pattern(pattern.covered(params), magnitude, SPARSITY)).apply_(pattern.covered(params))
    small = shrink(zeros.state_dict())
    fewer = make(size, encoder_ffn_embed_dim=small.after)
    fewer.load_state_dict(small.weights)
    models = {"whole": whole, "half of the channels zero": zeros, "shrunk": fewer}
    audio = torch.randn(CLIPS, SECONDS * 16000)
    found: Dict[str, Dict] = {name: {"seconds": []} for name in models}
    for repeat in range(repeats + 1):
        for name, model in models.items():
            start = time.perf_counter()
            model(audio, mask=False, features_only=True)
            if repeat:  # the first one allocates
                found[name]["seconds"].append(time.perf_counter() - start)
    for name, model in models.items():
        found[name] |= {"bytes": size_of(model), "multiply_adds": predicted(model)}
    return found


if __name__ == "__main__":
    arguments = json.loads(sys.argv[2])
    print(json.dumps(shrunk(**arguments)))
