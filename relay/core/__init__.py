"""Types and tools that everything else may use; nothing here imports another package."""
