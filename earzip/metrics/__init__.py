"""Measures of a reconstruction, as published with the εar-VAE."""
