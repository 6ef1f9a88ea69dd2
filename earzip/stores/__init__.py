"""Objects in stores (S3, Google Cloud Storage, Azure, Hugging Face) as sources and targets of a run."""
