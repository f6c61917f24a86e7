"""Estimates before the purchase."""
