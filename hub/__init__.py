"""One IoT Hub: identities, access, telemetry and certificate renewal over classic MQTT.

May import `adr`, `certs` and the port `broker.gateway`; `dps` imports this room's registry and formats.
Start at `hub.py` (one hub, assembled), then `gateway.py` (one packet in, its answer out), `access.py` (who
may connect), `telemetry.py` and `credentials.py` (what a device may do). Twins, methods and cloud-to-device
messages become a row in the tables of `topics.py` and a module of their own.
"""
