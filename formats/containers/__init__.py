"""How files are laid out, and nothing of what is in them."""
