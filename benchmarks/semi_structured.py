"""2:4 on a GPU: inference with torch.sparse.to_sparse_semi_structured against dense half precision.

Both are wav2vec 2.0 base or large with random weights, pruned 2:4, on the same batches of five
seconds of audio. Needs an NVIDIA GPU of compute capability 8.0 or more.
"""

import json
import sys
import time
from typing import Dict

import torch
from inference import make
from torch import nn

from parp_fairseq.pruning import Mask, magnitude, parse_pattern, prunable_parameters

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SECONDS = 5


def is_possible() -> bool:
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


@torch.inference_mode()  # under no_grad, linear layers reach 2:4 weights in parts that it refuses
def compare(size: str, repeats: int) -> Dict[str, Dict]:
    """Seconds of a batch for each batch size, dense and 2:4, in turns.

    Also the greatest difference of their outputs, as a share of the greatest output: the zeros are
    the same, so it is rounding.
    """
    torch.manual_seed(0)
    dense = make(size)
    params = prunable_parameters(dense, bias=False)
    Mask(parse_pattern("2:4")(params, magnitude, 0.5)).apply_(params)
    sparse = make(size)
    sparse.load_state_dict(dense.state_dict())
    models = {"dense": dense.cuda().half(), "2:4": sparse.cuda().half()}
    for layer in models["2:4"].encoder.modules():
        if isinstance(layer, nn.Linear):
            semi_structured = torch.sparse.to_sparse_semi_structured(layer.weight)
            layer.weight = nn.Parameter(semi_structured, requires_grad=False)
    found: Dict[str, Dict] = {}
    for batch in BATCHES:
        audio = torch.randn(batch, SECONDS * 16000, device="cuda", dtype=torch.float16)
        seconds: Dict[str, list] = {name: [] for name in models}
        outputs = {}
        for repeat in range(repeats + 3):
            for name, model in models.items():
                torch.cuda.synchronize()
                start = time.perf_counter()
                outputs[name] = model(audio, mask=False, features_only=True)["x"]
                torch.cuda.synchronize()
                if repeat >= 3:  # kernels are chosen in the first ones
                    seconds[name].append(time.perf_counter() - start)
        difference = (outputs["dense"] - outputs["2:4"]).abs().max() / outputs["dense"].abs().max()
        found[str(batch)] = {"seconds": seconds, "difference": float(difference)}
    return found


if __name__ == "__main__":
    if not is_possible():
        sys.exit("needs an NVIDIA GPU of compute capability 8.0 or more: found none")
    print(json.dumps(compare(**json.loads(sys.argv[2]))))
