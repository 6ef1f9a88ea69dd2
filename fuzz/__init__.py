"""Readers of foreign bytes, given damaged ones: ``python -m fuzz``. Not part of the package."""

NAMES = ("archive", "tags", "blocks", "sound", "config", "model")
