"""A device, and a fleet of them, that speak only the wire: onboard at DPS, send telemetry, renew, come back.

May import `certs`, and of the broker its packet codec and TLS transport; nothing of the services. What runs against
the emulator runs against Azure with other `DeviceSettings`. Pure: `topics`, `registration` (the DPS exchange as a
state machine), `renewal`, `sas`, `credential`, `signing_request`. Sockets: `dialer` (TLS), `mqtt` (one client).
Start at `device.py` (one device's life), then `provisioning.py` and `hub_session.py`; `fleet.py` runs some and reports
on each. Thousands: `scenario.py` says what is to happen, `behaviour.py` decides when (pure), `engine.py` lets it happen
with one `fleet_device.py` each, `recorder.py` counts it.
What a fleet goes through is counted by `recorder`; `summary` is what it came to, and `live_view`, `terminal_summary`,
`report` and `metrics` show it.
"""
