"""Sound in files: read as blocks of float32, resampled, written."""
