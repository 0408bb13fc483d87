"""Criteria and rules: the time of an update and the memory, beside stock dense finetuning.

Re-prunes are every 10 updates here, so that a short measurement has some of each.
"""

import json
import sys
from typing import Dict

from finetuning import TASKS, finetune

PARP = ["--task", "parp", "--arch", "parp_wav2vec_ctc", "--prune-interval", "10"]
# Layer by layer: the weights are random, and the gradients of whole matrices tiny.
LAYERWISE = ["--prune-pattern", "layerwise"]
CONTENDERS = {
    "dense, stock": TASKS["stock"],
    "magnitude (PARP)": PARP,
    "wanda": [*PARP, "--prune-criterion", "wanda"],
    "taylor": [*PARP, *LAYERWISE, "--prune-criterion", "taylor"],
    "movement": [*PARP, *LAYERWISE, "--prune-criterion", "movement"],
    "fisher": [*PARP, *LAYERWISE, "--prune-criterion", "fisher"],
    "rigl": [*PARP, "--prune-rule", "rigl"],
}


def update(contender: str, encoder: str, data: str, updates: int) -> Dict:
    """Seconds of each update, of the start-up, and the most memory held."""
    return finetune(CONTENDERS[contender], encoder, data, updates)


if __name__ == "__main__":
    print(json.dumps(update(**json.loads(sys.argv[2]))))
