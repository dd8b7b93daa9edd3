"""Suites that every implementation of a contract passes; a test class inherits them."""
