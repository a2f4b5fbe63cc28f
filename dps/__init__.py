"""One Device Provisioning Service: enrollments, attestation, the registration state machine, allocation, issuance.

May import `hub` (its registry and shared formats), `adr`, `certs` and the port `broker.gateway`.
Start at `service.py` (one DPS, assembled), then `device_api.py` (what a device can ask) and `gateway.py` (the MQTT
face of it: one packet in, its answer out), `attestation.py` (who the device is), `provisioning.py` (the course of a
registration) and `assignment.py` (what the device gets).
Enrollments live in `enrollment.py` (values), `enrollment_format.py` (their JSON) and `enrollments.py` (the tables).
Every answer and error body is written in `response.py`, every error class stands in `errors.py`.
"""
