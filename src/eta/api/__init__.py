"""The HTTP API: strict request parsing in front of the use-cases that the command line also runs."""
