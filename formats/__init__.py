"""Bytes, audio files and tags. Never imports torch, click, tqdm or accelerate."""
