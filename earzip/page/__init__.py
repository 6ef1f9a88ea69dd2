"""The page that `earzip report` writes: facts, pictures and sound of archives in one HTML file."""
