"""Vipps MobilePay: webhooks, and the callbacks of eCom, Checkout and Express."""
