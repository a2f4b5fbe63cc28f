"""Who may use the control API: programs on this machine, and pages that it serves itself.

A browser on the same machine reaches loopback on behalf of any web page. Such a page either sends its own origin along,
or has had its own host name resolved to loopback (DNS rebinding); both are told by the request's headers.
"""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit


def refuse_visitor(headers: Mapping[str, str], own_hosts: Collection[str]) -> str | None:
    """Return why a request comes from a foreign web page, None when it does not.

    Args:
        headers: the request's; a program may leave out both `Host` and `Origin`, a browser never leaves out `Host`.
        own_hosts: the host names of hubs and DPS, in lower case, which may be told to lead to loopback.
    """
    host, origin = headers.get("Host"), headers.get("Origin")
    if host is not None and not _is_own(host, own_hosts):
        return f"the control API is asked as {host[:64]!r}: use localhost or 127.0.0.1"
    if origin is not None and origin.lower() != f"http://{host}".lower():
        return f"a page of {origin[:64]!r} may not use the control API"
    return None


def _is_own(host: str, own_hosts: Collection[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in own_hosts:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
