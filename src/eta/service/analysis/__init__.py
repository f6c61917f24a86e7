"""Backtests, promise simulations, simulated data and the demo."""
