"""Checkpoints of fairseq, transformers and torchaudio, in and out."""
