"""Training of the embedded model: data, losses, trainer."""
