"""The words of the field, in the standard library alone."""
