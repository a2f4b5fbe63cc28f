"""One IoT Hub: identities, access, telemetry, twins, methods, cloud-to-device messages, certificate renewal.

May import `adr`, `certs` and the port `broker.gateway`; `dps` imports this room's registry and formats.
Start at `hub.py` (one hub, assembled), then `gateway.py` (one packet in, its answer out), `access.py` (who
may connect), `telemetry.py`, `twin_requests.py`, `methods.py`, `c2d.py` and `credentials.py` (what a device may
do). What services ask goes to the same parts; `service_access.py` says who may.
"""
