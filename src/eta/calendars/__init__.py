"""Local days, time zones and holidays."""
