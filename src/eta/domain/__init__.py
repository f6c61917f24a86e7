"""The vocabulary of the field; standard library only."""
