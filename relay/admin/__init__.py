"""The private side: health, metrics, and what an operator may see and do.

Health and metrics answer anybody who reaches the listener. The rest needs the token: as a bearer
token for scripts, or as a session for the page.
"""
