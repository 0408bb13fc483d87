"""The masked wrapper of wav2vec 2.0 with a CTC head, registered as ``parp_wav2vec_ctc``."""

from . import safe_loading  # noqa: F401  (whoever imports the plugin can load checkpoints)
