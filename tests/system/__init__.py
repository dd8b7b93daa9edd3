"""`relay run` from a socket to a socket: alone, and behind the proxies it is deployed behind."""
