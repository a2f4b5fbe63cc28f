"""For all tests: the signals that a process started by a person has, and no deadline for single examples."""

import signal

from hypothesis import settings

# How long one example takes says something about the machine, which others use too, and nothing about the code.
settings.register_profile("hublet", deadline=None)
settings.load_profile("hublet")

# A shell that runs the tests in the background has them ignore SIGINT, and every process they start would too:
# then Ctrl-C cannot be tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
