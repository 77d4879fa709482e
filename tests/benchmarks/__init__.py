"""Measures, not tests: `python -m tests.benchmarks` prints tables, beside PyTorch and Lightning where installed."""
