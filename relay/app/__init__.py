"""One process: parts are built from settings, run, and exchanged on a reload."""
