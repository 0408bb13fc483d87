"""The peer of manifests/librispeech.py: what fairseq's examples/wav2vec/wav2vec_manifest.py does.

Its steps and its libraries, so that it takes as long; the wheels of fairseq come without examples/.

usage: python wav2vec_manifest.py ROOT DEST
"""

import glob
import os
import random
import sys

import soundfile


def main(root: str, dest: str) -> None:
    root = os.path.realpath(root)
    rand = random.Random(42)
    with open(f"{dest}/train.tsv", "w") as train, open(f"{dest}/valid.tsv", "w") as valid:  # noqa: PTH123
        print(root, file=train)
        print(root, file=valid)
        for name in glob.iglob(os.path.join(root, "**/*.flac"), recursive=True):  # noqa: PTH118, PTH207
            path = os.path.realpath(name)
            frames = soundfile.info(name).frames
            split = train if rand.random() > 0.01 else valid
            print(f"{os.path.relpath(path, root)}\t{frames}", file=split)


main(*sys.argv[1:])
