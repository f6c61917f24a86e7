"""The HTTP API: strict parsing of requests in front of the use-cases of ``eta.service``."""
