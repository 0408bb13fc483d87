"""The model card of an exported model."""

from typing import Any, Mapping, Optional

from .finetuned import Finetuned

_CARD = """\
---
license: {license}
library_name: transformers
pipeline_tag: automatic-speech-recognition
tags:
- wav2vec2
- parp
- pruning
---

# {title}

A wav2vec 2.0 for speech recognition with CTC, finetuned with
[fairseq](https://github.com/facebookresearch/fairseq) and parp_fairseq.

| | |
|---|---|
| method | {method} |
| sparsity | {sparsity} |
| error rate | {error_rate} |
| encoder | {encoder} |
| audio | 16 kHz, mono, {normalize} |
| licence | {license_note} |

Pruned weights are stored as zeros. The file is as large, and the model as fast, as without pruning.

```python
import soundfile
from transformers import AutoModelForCTC, AutoProcessor

processor = AutoProcessor.from_pretrained("{title}")
model = AutoModelForCTC.from_pretrained("{title}")
audio, rate = soundfile.read("speech.wav")  # 16 kHz, mono
inputs = processor(audio, sampling_rate=rate, return_tensors="pt")
print(processor.decode(model(**inputs).logits[0].argmax(dim=1)))
```

Pass the `attention_mask` of the feature extractor to the model, which was trained with padding
masked out.
{eps_note}"""

_EPS_NOTE = """
fairseq normalises audio with an epsilon of 1e-5, the feature extractor of transformers with 1e-7.
The quieter the audio, the more the inputs of the network differ. For inputs that are equal,
normalise with `torch.nn.functional.layer_norm(audio, audio.shape)`.
"""


def write_card(
    title: str,
    model: Finetuned,
    sparsity: str,
    error_rate: Optional[str] = None,
    license: Optional[str] = None,
) -> str:
    """The text of README.md.

    Args:
        title: name of the model.
        model: what was exported.
        sparsity: of the encoder, in words.
        error_rate: where it is known, with the test set, such as "WER 12.3 % on test-other".
        license: identifier of the Hugging Face hub, such as cc-by-4.0; None leaves it to fill in.
    """
    shape = model.architecture
    return _CARD.format(
        title=title,
        license=license or "unknown  # fill in",
        license_note=license or "fill in: that of the encoder and of the training data hold too",
        method=describe_method(model.task),
        sparsity=sparsity,
        error_rate=error_rate or "not measured",
        encoder=f"{shape.layers} layers of width {shape.width}, feed-forward {shape.ffn_width}",
        normalize="zero mean and unit variance" if model.normalize else "not normalised",
        eps_note=_EPS_NOTE if model.normalize else "",
    )


def describe_method(task: Mapping[str, Any]) -> str:
    """How the task ``parp`` pruned, from its options."""
    if "sparsity" not in task:
        return "not pruned by the task parp"
    sparsity, pattern = task["sparsity"], task.get("prune_pattern", "global")
    if not sparsity:
        return "dense"
    start, criterion = task.get("initial_sparsity"), str(task.get("prune_criterion", "magnitude"))
    rule = task.get("prune_rule", "parp")
    if task.get("learn_mask"):
        name = "learned mask"
    elif rule != "parp":
        name = {"rigl": "RigL"}.get(rule, f"re-pruned by the rule {rule}")
    elif criterion not in ("magnitude", "random"):
        kind = "PARP" if task.get("adjust", True) else "fixed mask"
        name = f"{kind} by the criterion {criterion}"
    elif task.get("adjust", True):
        name = "PARP" if start is None or start == sparsity else f"PARP-P from sparsity {start:g}"
    elif task.get("mask_file"):
        name = "fixed mask from a file, as in OMP and IMP"
    else:
        random = criterion == "random"
        name = "RP, random pruning" if random else "MPI, magnitude pruning at initialisation"
    return f"{name} (sparsity {sparsity:g}, pattern {pattern})"
