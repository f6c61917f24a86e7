"""Use-cases, one verb a file: the table of contents of the product."""
