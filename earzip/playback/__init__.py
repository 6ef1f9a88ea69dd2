"""Archives through a player of the system: which one, what it is fed, and where it is."""
