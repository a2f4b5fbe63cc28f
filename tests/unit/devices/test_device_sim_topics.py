import pytest

from device_sim.errors import UnexpectedResponse
from device_sim.topics import (
    CREDENTIALS_PREFIX,
    DPS_PREFIX,
    ResponseTopic,
    format_dps_user_name,
    format_hub_user_name,
    format_issue_certificate_topic,
    format_operation_status_topic,
    format_register_topic,
    format_telemetry_topic,
    parse_response_topic,
)


def test_user_names_encode_the_agent_and_leave_the_ids_alone() -> None:
    assert (
        format_dps_user_name("0ne00ABCDEF", "sensor-001", "2025-07-01-preview", "emul/1.0")
        == "0ne00ABCDEF/registrations/sensor-001/api-version=2025-07-01-preview&ClientVersion=emul%2F1.0"
    )
    assert (
        format_hub_user_name("hub1.example", "sensor:1@a", "2025-08-01-preview", "emul/1.0 (x)")
        == "hub1.example/sensor:1@a/?api-version=2025-08-01-preview&DeviceClientType=emul%2F1.0%20%28x%29"
    )


def test_request_topics_carry_the_request_id() -> None:
    assert format_register_topic("1") == "$dps/registrations/PUT/iotdps-register/?$rid=1"
    assert (
        format_operation_status_topic("2", "5.a.b")
        == "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=5.a.b"
    )
    assert format_issue_certificate_topic("abcd") == "$iothub/credentials/POST/issueCertificate/?$rid=abcd"


def test_property_bag_encodes_names_and_values_and_the_dollar() -> None:
    topic = format_telemetry_topic("dev1", {"$.ct": "application/json", "p q": "v w", "é": "a&b=c+d"})
    assert topic == ("devices/dev1/messages/events/%24.ct=application%2Fjson&p%20q=v%20w&%C3%A9=a%26b%3Dc%2Bd")


def test_telemetry_without_properties_has_an_empty_bag() -> None:
    assert format_telemetry_topic("dev1", {}) == "devices/dev1/messages/events/"


def test_response_topic_of_the_hub_is_read() -> None:
    assert parse_response_topic("$iothub/credentials/res/202/?$rid=x-1", CREDENTIALS_PREFIX) == ResponseTopic(
        202, "x-1"
    )


@pytest.mark.parametrize("status", ["²", "-1", "", "1" * 10], ids=ascii)
def test_status_that_is_not_a_small_number_is_refused(status: str) -> None:
    with pytest.raises(UnexpectedResponse, match="where a number belongs"):
        parse_response_topic(f"{DPS_PREFIX}{status}/?$rid=1", DPS_PREFIX)
