"""The HTTP door: strict on what comes in, the same use-cases behind it as behind the shell."""
