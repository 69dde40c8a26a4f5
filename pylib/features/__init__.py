"""Acoustic features: log-mel filter banks and MFCC as Kaldi computes them, normalisation."""
