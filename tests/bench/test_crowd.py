"""Series with a history are those that are no longer zero, and buckets are not counted."""

from tests.bench.crowd import filled_series

EXPOSED = b"""\
# HELP relay_deliveries_total Deliveries
relay_deliveries_total{endpoint="a",verdict="accepted"} 2.0
relay_deliveries_total{endpoint="a",verdict="refused"} 0.0
relay_request_duration_seconds_bucket{endpoint="a",le="0.1"} 2.0
relay_request_duration_seconds_count{endpoint="a"} 2.0
relay_request_duration_seconds_sum{endpoint="a"} 0.0021
relay_connections 0
relay_spool_bytes 1.5e+06
python_info 1.0
"""


def test_only_what_has_happened_counts() -> None:
    assert filled_series(EXPOSED) == 4
