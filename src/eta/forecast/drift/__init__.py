"""How fast the network runs these days."""
