"""X.509: profiles, certificate authorities, CSR rules, path validation, PEM and key files. Nothing of IoT.

May import nothing of ours. Start at `profiles.py` (what each kind of certificate holds), then `authority.py` (who
issues it) and `path.py` (who believes it). `keyfile.py` is the only module that touches the disk. What comes from
outside is read through `extensions.py`, `pem.py` and `csr.py`, which turn every malformation into one error each.
"""
