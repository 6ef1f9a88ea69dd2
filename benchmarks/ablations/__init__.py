"""What each part of the training objective is worth, at a small scale."""
