from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from OpenSSL import SSL

from broker.tls import server_context
from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from device_sim.dialer import device_context
from device_sim.tls_client import client_connection

RECORDS_BYTES = 64 * 1024


@pytest.fixture
def server() -> SSL.Context:
    now = datetime.now(UTC)
    authority, key = CertificateAuthority.create_root("server CA", now), generate_key(KeyType.P256)
    leaf = authority.issue_server(["localhost"], key.public_key(), now, validity=timedelta(days=1))
    return server_context([(leaf, key)])


def shake_hands(server: SSL.Context) -> SSL.Connection:
    """Run a handshake in memory, and give the device's end."""
    device, peer = client_connection(device_context(), "localhost", None), SSL.Connection(server, None)
    peer.set_accept_state()
    for _ in range(3):
        for one, other in ((device, peer), (peer, device)):
            with suppress(SSL.WantReadError):
                one.do_handshake()
            with suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(RECORDS_BYTES))
    return device


def test_device_and_hublet_agree_on_what_costs_least(server: SSL.Context) -> None:
    device = shake_hands(server)
    assert device.get_protocol_version() == SSL.TLS1_3_VERSION
    assert (device.get_cipher_name(), device.get_group_name()) == ("TLS_AES_128_GCM_SHA256", "x25519")


def test_device_speaks_tls_1_2_with_a_server_that_has_no_more(server: SSL.Context) -> None:
    server.set_max_proto_version(SSL.TLS1_2_VERSION)
    assert shake_hands(server).get_cipher_name() == "ECDHE-ECDSA-AES256-GCM-SHA384"
