"""Many files: planned, claimed, shared out among processes, worked on, recorded."""
