"""Azure Device Registry: namespaces, their root CA (credential), policies (issuing CAs), device records, issuing.

May import `certs`, nothing else of ours. Start at `registry.py`, which offers all of it; `namespace.py`,
`credential.py`, `policy.py`, `device.py` and `issuance.py` hold one noun each with its rules and its stored form.
`store.py` declares the port that all durable state of the cores goes through, `errors.py` what is refused.
"""
