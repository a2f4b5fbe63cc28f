"""X.509: profiles, certificate authorities, CSR rules, path validation, PEM and key files. Nothing of IoT.

May import nothing of ours. Start at `profiles.py` (what each kind of certificate holds), then `authority.py`.
"""
