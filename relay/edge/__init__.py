"""The public listeners: parse HTTP into domain types, and write an `Ack` as a response.

`listener` opens sockets and serves connections, `protocol` is one connection. A request that came
whole is answered in `fast_lane`; of every other one `framing` checks where it starts and ends,
aiohttp parses it, and `slow_path` reads its body. `answers` writes. Before HTTP there may be a
PROXY header (`proxy_protocol`) and a TLS handshake (`tls`); `connections` limits how many there are
of each. `relay.ingest` decides what a delivery means and what is answered.
"""
