"""Lets torch's safe loader (``weights_only=True``, the default from 2.6 on) read fairseq's files.

Published wav2vec 2.0 and XLSR-53 files hold an ``argparse.Namespace``, finetuned checkpoints a
``Dictionary``. Both are plain containers: allowing them runs no code that a file brings along.
"""

import argparse

import torch
from fairseq.data import Dictionary

torch.serialization.add_safe_globals([argparse.Namespace, Dictionary])
