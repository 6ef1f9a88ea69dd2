"""The layout of files, without their contents."""
