"""Measurements of earzip, and the scripts that gather the audio they run on."""
