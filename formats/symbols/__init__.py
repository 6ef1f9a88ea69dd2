"""Integer latents to bytes and back."""
