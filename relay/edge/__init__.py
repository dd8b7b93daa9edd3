"""The public side: bytes from the internet become domain types, and an `Ack` becomes bytes.

`listener` accepts, `protocol` guards one connection, `slow_path` reads a body that comes later.
What a delivery means, and what is answered, is decided in `relay.ingest`.
"""
