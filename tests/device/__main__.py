"""`python -m tests.device`."""

from tests.device.script import main

main()
