"""Receives payment webhooks at the network edge: checks, verifies, stores, delivers."""

__version__ = "0.1.0"
