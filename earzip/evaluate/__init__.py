"""Judging reconstructions: pairs of files, tones through a model."""
