"""The process: configuration, clock, store, faults, HTTP front, control API and command line.

The only room that joins rooms; it may import all of them. Start at `config.py` (what a user writes), then
`bootstrap.py` (how that becomes namespaces, hubs and a provisioning service), `process.py` (what runs) and
`cli.py`. `store.py` and `clock.py` are what the cores get their state and their time from.
"""
