"""Forecasts and delay flags of shipments in flight."""
