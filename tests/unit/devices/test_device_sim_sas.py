import base64
from datetime import UTC, datetime, timedelta

import pytest

from device_sim.sas import derive_device_key, format_dps_token, format_hub_token

GROUP_KEY = base64.b64encode(bytes(range(64))).decode()
DEVICE_KEY = "7//TATd+SB49A5b70C7un84bm4u/cjMJ9YU5X+UQplQ="
EXPIRY = datetime.fromtimestamp(1795000000, UTC)


def test_device_key_is_derived_from_the_group_key() -> None:
    assert derive_device_key(GROUP_KEY, "sensor-001") == DEVICE_KEY


def test_dps_token_is_signed_over_its_encoded_resource() -> None:
    token = format_dps_token("0ne00ABCDEF", "sensor-001", DEVICE_KEY, EXPIRY - timedelta(hours=1), timedelta(hours=1))
    assert token == (
        "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fsensor-001"
        "&sig=K4Z3pfTFL9L63JtDTPS0q3En2MAzfJrEGIw7KdbEBoc%3D&se=1795000000&skn=registration"
    )


def test_hub_token_names_the_device_and_no_policy() -> None:
    token = format_hub_token("hub1.example", "sensor-001", DEVICE_KEY, EXPIRY, timedelta())
    assert token.startswith("SharedAccessSignature sr=hub1.example%2Fdevices%2Fsensor-001&sig=")
    assert token.endswith("&se=1795000000")


def test_key_that_is_not_base64_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="not base64") as refused:
        derive_device_key("secret!", "sensor-001")
    assert "secret" not in str(refused.value)
