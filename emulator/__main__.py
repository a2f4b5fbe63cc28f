"""`python -m emulator` is `hublet`."""

from emulator.cli import main

main()
