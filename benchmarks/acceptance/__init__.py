"""The main job, end to end: a folder of real music into archives and back, checked by others."""
