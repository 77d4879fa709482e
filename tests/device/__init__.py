"""Tests of the device's code paths: on a stand-in without a GPU, or on a real one with `pytest --device cuda`."""
