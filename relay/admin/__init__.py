"""The private listener: health and metrics, the admin API, operator pages.

Health and metrics need no token. The rest does: as a bearer token for scripts, or as a session for
the pages.
"""
