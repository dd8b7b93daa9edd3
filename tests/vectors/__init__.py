"""Published messages, signatures and addresses, each with its source, and tests that read them."""
