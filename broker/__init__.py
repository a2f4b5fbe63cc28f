"""MQTT 3.1.1 over mutual TLS on amqtt: the front door that DPS and every hub share.

May import `certs` (for the peer's certificates), nothing else of ours. It knows no Azure noun but the form of a
user name. Start at `gateway.py` (what is asked of the services behind), then `connection.py` (one client's packets),
`mqtt.py` (the amqtt seam) and `tls/` (the transport).
"""
