"""The service REST API of the hubs: identities, twins, methods, queries, feedback, as HTTP.

The edge of `hub`: it reads requests into the core's types, calls it, waits for the commit and renders answers and
errors; no rule of IoT Hub stands here. Start at `api.py` (one request in, one answer out), then `routes.py` (the table
of paths with the right each needs). On HTTPS a SAS token is asked for and the host name chooses the hub; the control
API serves the same under `/hubs/{hub}/` without a token, loopback only.
"""
