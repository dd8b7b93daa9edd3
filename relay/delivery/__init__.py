"""An event on its way out: lease, confirm, send, decide, settle."""
