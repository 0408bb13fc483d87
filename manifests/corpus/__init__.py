"""From the tables of a corpus to utterances and splits."""
