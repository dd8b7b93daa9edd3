"""Configurations of senders that are not built in, as config/senders holds them."""
