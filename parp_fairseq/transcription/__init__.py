"""Recordings of any length and format to text, with a finetuned checkpoint."""

from .recording import BadRecording, Recording
from .transcriber import Transcriber, Transcript, Word

__all__ = ["BadRecording", "Recording", "Transcriber", "Transcript", "Word"]
