"""The network: configuration, blocks, VAE. No paths, no files."""
