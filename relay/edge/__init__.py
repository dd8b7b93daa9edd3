"""The public side: bytes from the internet become domain types, and an `Ack` becomes bytes.

`server` listens, `protocol` guards one connection, `body` reads what an admitted client sends.
What a delivery means, and what is answered, is decided in `relay.ingest`.
"""
