"""Sentences and their classes, for fairseq's RoBERTa."""
