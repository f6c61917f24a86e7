"""Judges every forecast."""
