"""Relay beside the senders' own public libraries: each takes what the other signs."""
