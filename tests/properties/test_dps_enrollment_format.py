"""Enrollments: any JSON is read or refused, and what was read is written and read alike."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dps.enrollment_format import format_enrollment, parse_enrollment_group, parse_individual_enrollment
from dps.errors import BadRequest, DeserializationError

KEY = "AAECAwQFBgcICQoLDA0ODw=="
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ATTESTATIONS = st.one_of(
    JSON,
    st.just({"type": "symmetricKey", "symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}}),
    st.fixed_dictionaries({"type": st.just("x509"), "x509": JSON}),
    st.just({"type": "x509", "x509": {"caReferences": {"primary": "root"}}}),
)
ENROLLMENTS = st.fixed_dictionaries(
    {
        "registrationId": st.just("sensor-001") | JSON,
        "enrollmentGroupId": st.just("factory"),
        "attestation": ATTESTATIONS,
    },
    optional={
        "deviceId": JSON | st.text(min_size=1, max_size=8),
        "provisioningStatus": st.sampled_from(["enabled", "disabled", "maybe", None, 7]),
        "allocationPolicy": st.sampled_from(["hashed", "geoLatency", "static", "custom", "other", None]),
        "iotHubs": JSON | st.lists(st.text(max_size=8), max_size=3),
        "iotHubHostName": JSON,
        "credentialPolicyName": JSON,
        "certificatePolicyName": JSON,
        "initialTwin": JSON,
        "capabilities": JSON,
        "reprovisionPolicy": JSON,
        "etag": JSON,
    },
)


@given(ENROLLMENTS | JSON)
def test_any_json_is_read_alike_or_refused(document: Any) -> None:
    for parse in (parse_individual_enrollment, parse_enrollment_group):
        try:
            enrollment = parse(document)
        except (BadRequest, DeserializationError):
            continue
        assert parse(json.loads(json.dumps(format_enrollment(enrollment)))) == enrollment
