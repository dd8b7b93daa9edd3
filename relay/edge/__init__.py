"""The public listeners: parse HTTP into domain types, and write an `Ack` as a response.

`listener` opens sockets and handles requests, `protocol` is one connection, `framing` checks where
its requests start and end, `slow_path` reads bodies. Before HTTP there may be a PROXY header
(`proxy_protocol`) and a TLS handshake (`tls`); `connections` limits how many there are of each.
`relay.ingest` decides what a delivery means and what is answered.
"""
