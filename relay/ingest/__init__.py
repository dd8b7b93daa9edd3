"""The inbound pipeline: match, admit, read, verify, store or forward, answer.

`pipeline` runs the steps for one request; `endpoint_paths` and `client_address` are its first two.
`refusals` keeps refused deliveries and releases them, `reconcile` fetches events from a provider.
"""
