"""Whether data are fit to learn from: what is suspicious in accepted and rejected rows."""
