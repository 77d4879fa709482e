"""Measures, not tests: `python -m tests.benchmarks` prints one table, beside PyTorch and Lightning where installed."""
