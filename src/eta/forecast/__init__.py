"""Arrival models and their baselines."""
