"""One file: compressed, checked, restored, described."""
