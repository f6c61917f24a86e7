"""The hazard model."""
