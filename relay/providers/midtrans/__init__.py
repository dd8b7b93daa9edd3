"""Midtrans: HTTP notifications, BI-SNAP, and the status API."""
