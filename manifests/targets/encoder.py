"""A layer of a pre-trained encoder, whose clusters are the targets of the second round."""

from hashlib import blake2b
from pathlib import Path

import numpy as np

from targets.mfcc import HOP


class Layer:
    """Frames of clips from one transformer layer of an encoder that `parp encoder` wrote.

    Attributes:
        repeats: how many times 10 ms a frame lasts.
        digest: of the file, to know it again.
    """

    def __init__(self, path: Path, layer: int, jobs: int) -> None:
        """Loads the encoder; `layer` counts from 1, `jobs` is the number of threads on a CPU.

        Raises:
            ValueError: no encoder, no such layer, or frames that do not last a multiple of 10 ms.
            OSError: the file cannot be read.
        """
        import torch

        from parp_fairseq.models.pretrained import load_encoder

        torch.set_num_threads(jobs)
        self._torch, self._layer = torch, layer
        self._model, self._normalize = load_encoder(path)
        self.digest = blake2b(path.read_bytes()).hexdigest()
        layers = len(self._model.encoder.layers)
        if not 1 <= layer <= layers:
            raise ValueError(f"--layer: {layer}, expected one from 1 to the {layers} of {path}")
        convolutions = self._model.feature_extractor.conv_layers
        samples = int(np.prod([convolution[0].stride[0] for convolution in convolutions]))
        if samples % HOP:
            raise ValueError(f"{path}: a frame lasts {samples} samples, expected {HOP} times n")
        self.repeats = samples // HOP
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(self._device).eval()

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """The frames of a clip at 16 kHz, (n,) float32: (frames, width), float32."""
        torch = self._torch
        with torch.inference_mode():
            source = torch.from_numpy(samples).to(self._device)
            if self._normalize:
                source = torch.nn.functional.layer_norm(source, source.shape)
            found = self._model.extract_features(
                source[None], padding_mask=None, mask=False, layer=self._layer - 1
            )
        return found["x"][0].float().cpu().numpy()
