"""The folder of manifests that fairseq reads: writing it, and reading it back."""
