"""Faults on purpose: what a device has to survive, at the edge of the emulator and when certificates are issued.

Start with `fault.py` (what a fault is), `plan.py` (when it strikes) and `gateway.py` (how). The cores do not know of
any of it: `edge.py` puts wrappers around their gateways while there is something to inject, and takes them away again.
"""
