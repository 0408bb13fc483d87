"""MFCC, the features whose clusters are the targets of the first round (HuBERT, Hsu et al., 2021).

Written out because torchaudio, whose MFCC fairseq's own script uses, cannot be imported beside a
CPU build of torch.
"""

import numpy as np
from manifest.writing import RATE
from scipy.fft import dct

WINDOW, HOP, FFT = 400, 160, 512  # samples: 25 ms, 10 ms
MELS, CEPSTRA = 40, 13
LOWEST, HIGHEST = 20.0, 7_800.0  # Hz
PRE_EMPHASIS = 0.97


def _mel_filters() -> np.ndarray:
    """Triangular filters, equally wide in mel: (FFT // 2 + 1, MELS)."""
    edges = np.linspace(*(1127 * np.log1p(f / 700) for f in (LOWEST, HIGHEST)), MELS + 2)
    hertz = 700 * np.expm1(edges / 1127)
    bins = np.arange(FFT // 2 + 1)[:, None] * RATE / FFT
    low, centre, high = hertz[:-2], hertz[1:-1], hertz[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


_FILTERS = _mel_filters()
_HAMMING = np.hamming(WINDOW).astype(np.float32)


def mfcc(samples: np.ndarray) -> np.ndarray:
    """Features of a clip at RATE, one row every 10 ms: (1 + (n - WINDOW) // HOP, 39), float32.

    A row holds 13 cepstral coefficients, normalised over the clip, and their first and second
    differences, weighted by 2 and 4.

    Args:
        samples: (n,) float32 from -1 to 1, at least WINDOW of them.
    """
    emphasised = np.append(samples[:1], samples[1:] - np.float32(PRE_EMPHASIS) * samples[:-1])
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW)[::HOP] * _HAMMING
    power = np.abs(np.fft.rfft(frames, FFT)) ** 2
    cepstra = dct(np.log(power @ _FILTERS + 1e-8), norm="ortho")[:, :CEPSTRA]
    cepstra = (cepstra - cepstra.mean(0)) / (cepstra.std(0) + 1e-5)
    first = _differences(cepstra)
    joined = np.concatenate([cepstra, 2 * first, 4 * _differences(first)], axis=1)
    return joined.astype(np.float32)


def _differences(rows: np.ndarray) -> np.ndarray:
    return np.gradient(rows, axis=0) if len(rows) > 1 else np.zeros_like(rows)
