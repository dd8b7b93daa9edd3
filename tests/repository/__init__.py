"""The repository is what it says: its tree, its documents, its examples, its package."""
