"""Tests that last: memory under load."""
