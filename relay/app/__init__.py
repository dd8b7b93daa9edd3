"""One process: parts are constructed from settings, run, and replaced on a reload."""
