import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.refusal_reasons import KINDS, OTHER, refusal_reason

ROOT = Path(__file__).parents[2]
# Where connections are refused, and what is called with the text of the refusal.
SOURCES = (
    "broker/router.py", "dps/gateway.py", "hub/gateway.py", "hub/access.py", "hub/sas_access.py",
    "hub/certificate_access.py",
)  # fmt: skip
REFUSING = {"Denial", "Refusal", "_refuse", "_refusal"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("no hub has the host name 'x'; known: localhost", "unknown_service"),
        ("no DPS instance has the ID scope '0ne1'; known: 0ne00000001", "unknown_service"),
        ("user name 'x' is neither {hub}/{device}/… nor {idScope}/registrations/…", "unknown_service"),
        ("device 'd1' is not registered in hub hub1", "not_registered"),
        ("device d1 is disabled in hub hub1: stolen", "disabled"),
        ("device d1: the token expired at 2026-01-01T00:00:00+00:00, it is 2026-02-01T00:00:00+00:00", "expired"),
        ("CN=d1 (serial 1f) expired at 2026-01-01; it is 2026-02-01", "expired"),
        ("certificate 'd1' is not valid before 2026-01-01, now is 2025-01-01", "not_yet_valid"),
        ("SAS token is signed with neither key of d1", "wrong_signature"),
        ("d1: the signature of 'CN=d1' (serial 7) is not by the key of 'CN=ICA' (serial 6); hub h", "wrong_signature"),
        ("SAS token is for 'a/devices/b', not for 'a/devices/c'", "wrong_resource"),
        ("password is not a SAS token: no signature", "malformed_credential"),
        ("d1 is registered with sas, but presents no SAS token", "no_credential"),
        ("d1 is registered with sas, but presents a SAS token", "wrong_credential_type"),
        ("certificate 1f of device d1 was revoked: its device identifier is not the one in namespace n", "revoked"),
        ("CN=d1 (serial 1f) is self-signed and not trusted; hub hub1 trusts no namespace", "untrusted_issuer"),
        ("d1: Thumbprint does not match configuration: Thumbprint: SHA1Hash=A, SHA2Hash=B", "wrong_certificate"),
        ("client ID 'x' is not 'y', the one of the user name", "wrong_client_id"),
        ("something that nobody thought of", OTHER),
    ],
)
def test_a_refusal_has_a_kind(text, kind):
    assert refusal_reason(text) == kind


def test_kinds_are_few_and_fit_for_a_label():
    assert len(set(KINDS)) == len(KINDS) <= 30
    assert all(re.fullmatch(r"[a-z_]+", kind) for kind in KINDS)


def test_a_hostile_client_cannot_make_a_kind():
    assert refusal_reason('client ID "x\n} 1\nother{" is not') in KINDS


def written_refusals() -> Iterator[tuple[str, str]]:
    """Read the texts of refusals out of the code, with a placeholder for each value in them."""
    for source in SOURCES:
        for node in ast.walk(ast.parse((ROOT / source).read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                texts = [each for each in node.args if isinstance(each, ast.JoinedStr)] if name in REFUSING else []
                yield from ((source, written(text)) for text in texts)


def written(text: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in text.values)


def test_every_refusal_in_the_code_has_a_kind():
    """A refusal that no row fits would be counted as `other`: add a row, or change one, in `refusal_reasons`."""
    refusals = list(written_refusals())
    assert len(refusals) >= 20
    # A placeholder for another module's words (of a chain, of a will) says nothing here.
    unknown = [each for each in refusals if refusal_reason(each[1]) == OTHER and len(each[1].replace("x", "")) > 20]
    assert unknown == []


def test_every_reason_of_a_chain_has_a_kind():
    """The words of `certs.path` become those of a refusal."""
    tree = ast.parse((ROOT / "certs/path.py").read_text())
    texts = [written(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    telling = re.compile(r"\bx .*(?:expired|valid|CA|signature|trusted|issued|presented)")
    refusals = [text for text in texts if telling.search(text)]
    assert len(refusals) >= 5
    assert [text for text in refusals if refusal_reason(text) == OTHER] == []
