"""Simple models that the hazard model must beat."""
