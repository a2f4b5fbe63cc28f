"""The management API of the device registry in the shape of Azure Resource Manager, as HTTP.

The edge of `adr`: it reads requests into the core's types, calls `emulator.adr_service`, waits for the commit and
renders resources, long-running operations and errors; no rule of the registry stands here. Start at `api.py` (one
request in, one answer out), then `routes.py` (the table of paths in each of the two generations of the model). On
HTTPS a bearer token of any content is asked for, from loopback addresses only; the control API serves the same paths
without one.
"""
