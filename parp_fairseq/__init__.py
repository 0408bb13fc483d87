"""PARP for fairseq: sparse subnetworks of wav2vec 2.0, found while finetuning.

Load it with ``--user-dir parp_fairseq`` or ``common.user_dir=parp_fairseq``; fairseq then imports
``parp_fairseq.tasks`` and ``parp_fairseq.models`` by itself. ``parp_fairseq.pruning`` needs torch.
"""

__version__ = "0.1.0"
