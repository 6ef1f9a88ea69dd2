"""The archive file: laid out, written, read and verified as SPEC.md says."""
