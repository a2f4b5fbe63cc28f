"""The budgets of the design, measured as ratios in one run: `make bench`.

It may import every room, and nothing imports it. What counts is the CPU of the server's process (utime + stime), not
the time on the clock: this survives a busy machine. The server runs on one core, the load generator (a process of
its own, `bench.generator`) on another. Nothing here is a test: a figure over its budget is printed, never asserted.

Start at `rows.py` (one function for each row of the table), then `generator.py` (what a load consists of).
"""
