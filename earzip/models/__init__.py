"""Models: what one is, where it lies, how it comes there."""
