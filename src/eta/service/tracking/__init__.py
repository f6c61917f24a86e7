"""Recorded shipments and their events."""
