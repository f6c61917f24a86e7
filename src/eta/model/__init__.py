"""The life of a model: train, bundle, update, registry, hot swap, fallback."""
