"""One track to latents to integers, and back."""
