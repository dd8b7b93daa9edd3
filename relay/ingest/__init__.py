"""The inbound pipeline: route, admit, read, verify, store or forward, answer.

`pipeline` runs the steps for one request; `routing` and `client_address` are its first two.
`refusals` keeps refused deliveries and releases them, `reconcile` fetches events from a provider.
"""
