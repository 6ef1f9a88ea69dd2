"""Models: specification, storage, installation."""
