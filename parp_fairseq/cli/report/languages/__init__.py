"""Pages of ``parp report`` for a study over several corpora, such as languages."""
