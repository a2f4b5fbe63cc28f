"""Azure Device Registry: namespaces, their CAs, credential policies, device records, issuing and revoking.

May import `certs`, nothing else of ours. Start at `registry.py`, which offers all of it; `authorities.py` has the roots
and issuing CAs by generation, `issuing.py` and `revoking.py` what is done for devices, `revocation.py` the lists, and
`namespace.py`, `credential.py`, `authority.py`, `policy.py`, `device.py`, `issuance.py` and `links.py` one noun each
with its rules and its stored form. `store.py` declares the port that all durable state of the cores goes through,
`errors.py` what is refused.
"""
