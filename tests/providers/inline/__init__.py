"""The generic provider, made from a description."""
