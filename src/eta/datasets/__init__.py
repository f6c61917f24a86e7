"""Readers of history, one file a layout."""
