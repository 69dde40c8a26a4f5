"""Trivium: self-supervised speech, audio-visual speech and disentangled speech in one house."""
