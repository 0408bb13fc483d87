"""The masked CTC models, registered as ``parp_wav2vec_ctc`` and ``parp_hubert_ctc``."""

from . import safe_loading  # noqa: F401  (whoever imports the plugin can load checkpoints)
