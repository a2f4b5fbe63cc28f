"""For all tests: the signals that a process started by a person has."""

import signal

# A shell that runs the tests in the background has them ignore SIGINT, and every process they start would too:
# then Ctrl-C cannot be tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
