"""PARP for fairseq: sparse subnetworks of speech encoders, found while finetuning.

fairseq's programs load the plugin with ``--user-dir parp_fairseq`` or
``common.user_dir=parp_fairseq``. In a script of your own, ``import parp_fairseq`` is enough: the
task ``parp`` and the models ``parp_wav2vec_ctc`` and ``parp_hubert_ctc`` are registered as soon as
fairseq is imported too. ``parp_fairseq.pruning`` needs torch only.
"""

from .registration import register_with_fairseq

__version__ = "0.1.0"

register_with_fairseq()
