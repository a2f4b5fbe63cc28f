from hub.message import SYSTEM_PROPERTIES, message_size, split_properties


def test_system_properties_get_their_consumer_names_and_the_rest_is_the_users() -> None:
    bag = {"$.mid": "m1", "$.ct": "application/json", "$.ce": "utf-8", "iothub-ack": "full", "colour": None}
    assert split_properties(bag) == (
        {"message-id": "m1", "content-type": "application/json", "content-encoding": "utf-8"},
        {"iothub-ack": "full", "colour": None},
    )


def test_every_system_property_is_moved_out_of_the_users_bag() -> None:
    system, application = split_properties(dict.fromkeys(SYSTEM_PROPERTIES, "x"))
    assert set(system) == set(SYSTEM_PROPERTIES.values())
    assert application == {}


def test_system_property_without_a_value_is_left_out() -> None:
    assert split_properties({"$.cid": None, "$.uid": ""}) == ({"user-id": ""}, {})


def test_unknown_system_property_stays_an_application_property() -> None:
    assert split_properties({"$.new": "1"}) == ({}, {"$.new": "1"})


def test_device_cannot_name_another_sender() -> None:
    assert split_properties({"$.cdid": "victim", "$.cmid": "m"}) == ({}, {})


def test_size_counts_body_system_values_and_application_names_and_values_in_bytes() -> None:
    assert message_size(b"12345", {"message-id": "ab"}, {"k": "€", "null": None}) == 5 + 2 + (1 + 3) + 4
