"""The management API of the device registry, without sockets: both generations of the model."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from adr.authority import AuthorityState
from certs.csr import CertificateRequest
from certs.keyfile import MemoryKeyStore
from certs.keys import KeyType, generate_key
from emulator.adr_rest import errors
from emulator.adr_rest.operations import KEPT, LongRunningOperations
from tests.doubles.management import DRAFT, FIRST, NOW, SCOPE, SECOND, ManagementHouse

DEFAULT = "namespaces/works/credentials/default"
AUTHORITIES = "namespaces/works/certificateAuthorities"
HUB2 = "/subscriptions/x/resourceGroups/y/providers/Microsoft.Devices/IotHubs/hub2"


@pytest.fixture
def house() -> Iterator[ManagementHouse]:
    house = ManagementHouse()
    yield house
    house.store.close()


async def done(house: ManagementHouse, method: str, path: str, document: Any = None, **options: Any) -> Any:
    status, answer = await house.ask(method, path, document, **options)
    assert status < 300, answer
    return answer


async def refusal(house: ManagementHouse, method: str, path: str, document: Any = None, **options: Any) -> Any:
    status, answer = await house.ask(method, path, document, **options)
    assert status >= 400, answer
    return status, answer["error"]["code"], answer["error"]["message"]


def leaf_days(days: Any, **configuration: Any) -> dict[str, Any]:
    leaf = {"validityPeriodInDays": days}
    certificate = {"leafCertificateConfiguration": leaf, "certificateAuthorityConfiguration": configuration}
    return {"properties": {"certificate": certificate}}


class TestNamespaces:
    async def test_new_one_is_201_and_has_no_credential(self, house: ManagementHouse) -> None:
        status, made = await house.ask("PUT", "namespaces/Lab", {"location": "eastus", "tags": {"a": "b"}})
        assert (status, made["name"], made["location"], made["tags"]) == (201, "lab", "eastus", {"a": "b"})
        assert made["id"] == f"{SCOPE}/namespaces/lab"
        assert made["type"] == "Microsoft.DeviceRegistry/namespaces"
        assert made["properties"]["provisioningState"] == "Accepted"
        shown = await done(house, "GET", "namespaces/lab")
        assert shown["properties"]["provisioningState"] == "Succeeded"
        assert shown["properties"]["uuid"] == made["properties"]["uuid"]
        assert (await house.ask("PUT", "namespaces/lab", {}))[0] == 200
        assert (await done(house, "GET", "namespaces/lab"))["tags"] == {"a": "b"}
        assert await done(house, "GET", "namespaces/lab/credentials") == {"value": []}

    async def test_deleted_one_leaves_nothing_behind(self, house: ManagementHouse) -> None:
        await done(house, "PUT", "namespaces/lab", {"tags": {"a": "b"}})
        assert (await house.ask("DELETE", "namespaces/lab"))[0] == 202
        assert (await house.ask("DELETE", "namespaces/lab"))[0] == 204
        assert (await done(house, "PUT", "namespaces/lab"))["tags"] == {}
        assert (await refusal(house, "DELETE", "namespaces/works"))[:2] == (409, "NamespaceNotEmpty")

    async def test_too_many_tags_are_refused(self, house: ManagementHouse) -> None:
        tags = {str(number): "x" for number in range(51)}
        assert "at most 50" in (await refusal(house, "PATCH", "namespaces/works", {"tags": tags}))[2]
        assert "tags.a must be a string" in (await refusal(house, "PATCH", "namespaces/works", {"tags": {"a": 1}}))[2]


def endpoint(resource: str = HUB2, **more: Any) -> dict[str, Any]:
    return {"endpointType": "Microsoft.Devices/IotHubs", "resourceId": resource, **more}


def messaging(**endpoints: Any) -> dict[str, Any]:
    return {"properties": {"messaging": {"endpoints": endpoints}}}


class TestLinking:
    async def test_what_the_configuration_links_is_shown(self, house: ManagementHouse) -> None:
        properties = (await done(house, "GET", "namespaces/works", version=SECOND))["properties"]
        hub = properties["messaging"]["endpoints"]["hub1"]
        assert (hub["linkingState"], hub["deviceAddress"]) == ("Succeeded", "hub1.example")
        assert properties["provisioning"]["endpoints"]["dps1"]["linkingState"] == "Succeeded"

    async def test_endpoint_links_a_hub_and_null_unlinks_it(self, house: ManagementHouse) -> None:
        weight = {"provisioning": {"availability": "Available", "allocationWeight": 3}}
        changed = await done(house, "PATCH", "namespaces/works", messaging(mine=endpoint(**weight)), version=SECOND)
        endpoints = changed["properties"]["messaging"]["endpoints"]
        assert set(endpoints) == {"mine", "hub1"}
        assert endpoints["mine"]["linkingState"] == "Succeeded"
        assert endpoints["mine"]["provisioning"]["allocationWeight"] == 3
        assert house.hubs[1].link.namespace == "works"
        changed = await done(house, "PATCH", "namespaces/works", messaging(mine=None), version=SECOND)
        assert set(changed["properties"]["messaging"]["endpoints"]) == {"hub1"}
        assert [hub.link.namespace for hub in house.hubs] == ["works", None]

    async def test_put_replaces_the_whole_set_but_not_a_section_it_leaves_out(self, house: ManagementHouse) -> None:
        await done(house, "PUT", "namespaces/works", messaging(mine=endpoint()), version=SECOND)
        assert [hub.link.namespace for hub in house.hubs] == [None, "works"]
        assert house.dps.link.namespace == "works"
        await done(house, "PUT", "namespaces/works", {"properties": {"provisioning": {}}}, version=SECOND)
        assert house.dps.link.namespace is None
        assert house.hubs[1].link.namespace == "works"

    async def test_configured_hub_is_unlinked_by_its_name(self, house: ManagementHouse) -> None:
        await done(house, "PATCH", "namespaces/works", messaging(hub1=None))
        assert house.hubs[0].link.namespace is None

    async def test_hub_of_another_namespace_or_none_at_all_fails_to_link(self, house: ManagementHouse) -> None:
        await done(house, "PUT", "namespaces/lab", {})
        body = messaging(taken=endpoint("/x/hub1"), missing=endpoint("/x/hub9"))
        endpoints = (await done(house, "PATCH", "namespaces/lab", body))["properties"]["messaging"]["endpoints"]
        assert [endpoints[name]["linkingState"] for name in ("taken", "missing")] == ["Failed", "Failed"]
        assert "is linked to namespace 'works': unlink it there first" in endpoints["taken"]["linkingError"]
        assert "there is no Microsoft.Devices/IotHubs 'hub9' here" in endpoints["missing"]["linkingError"]
        assert house.hubs[0].link.namespace == "works"

    async def test_dps_is_linked_by_the_provisioning_endpoints(self, house: ManagementHouse) -> None:
        await done(house, "PATCH", "namespaces/works", {"properties": {"provisioning": {"endpoints": {"dps1": None}}}})
        assert house.dps.link.namespace is None
        await done(house, "PUT", "namespaces/lab", {})
        one = {"endpointType": "Microsoft.Devices/provisioningServices", "resourceId": "/x/dps1"}
        await done(house, "PATCH", "namespaces/lab", {"properties": {"provisioning": {"endpoints": {"p": one}}}})
        assert house.dps.link.namespace == "lab"
        assert (await house.ask("DELETE", "namespaces/lab"))[0] == 202
        assert house.dps.link.namespace is None

    async def test_malformed_endpoint_changes_nothing(self, house: ManagementHouse) -> None:
        for bad in ({"resourceId": "hub2"}, {"resourceId": 7}, "hub2"):
            status, code, message = await refusal(house, "PATCH", "namespaces/works", messaging(a=endpoint(), b=bad))
            assert (status, code) == (400, "InvalidRequestContent")
            assert "properties.messaging.endpoints.b" in message
        assert house.hubs[1].link.namespace is None


class TestFirstGeneration:
    async def test_policy_has_its_issuing_ca_inside(self, house: ManagementHouse) -> None:
        status, made = await house.ask("PUT", f"{DEFAULT}/policies/plant-2", leaf_days(10, keyType="ECC"))
        assert status == 201
        assert made["type"] == "Microsoft.DeviceRegistry/namespaces/credentials/policies"
        certificate = made["properties"]["certificate"]
        assert certificate["leafCertificateConfiguration"] == {"validityPeriodInDays": 10}
        configuration = certificate["certificateAuthorityConfiguration"]
        assert configuration["subject"] == "CN=works plant-2 ICA"
        assert configuration["validityNotAfter"] == "2028-11-23T12:00:00Z"
        assert configuration["bringYourOwnRoot"] == {"enabled": False}
        listed = await done(house, "GET", f"{DEFAULT}/policies")
        assert [each["name"] for each in listed["value"]] == ["plant-1", "plant-2"]

    async def test_only_the_validity_of_leaves_changes_later(self, house: ManagementHouse) -> None:
        path = f"{DEFAULT}/policies/plant-1"
        assert (await house.ask("PUT", path, leaf_days(20)))[0] == 200
        await done(house, "PATCH", path, {**leaf_days(21), "tags": {"a": "b"}})
        assert house.adr.policy("works", "plant-1").leaf_validity == timedelta(days=21)
        assert (await done(house, "GET", path))["tags"] == {"a": "b"}
        body = leaf_days(22, bringYourOwnRoot={"enabled": True})
        assert "when the policy is made, not later" in (await refusal(house, "PUT", path, body))[2]
        assert "the only key type is ECC" in (await refusal(house, "PUT", path, leaf_days(22, keyType="RSA")))[2]
        assert house.adr.policy("works", "plant-1").leaf_validity == timedelta(days=21)

    @pytest.mark.parametrize("days", [6, 91, 7.5, 0, -1])
    async def test_validity_outside_7_to_90_days_is_refused(self, house: ManagementHouse, days: float) -> None:
        status, code, message = await refusal(house, "PUT", f"{DEFAULT}/policies/bad-one", leaf_days(days))
        assert (status, code) == (400, "InvalidValidityPeriod")
        assert "7 to 90 whole days" in message
        assert house.adr.authorities.generations("works", "bad-one") == []

    async def test_fraction_of_a_day_passes_in_test_mode(self) -> None:
        house = ManagementHouse(allow_short_validity=True)
        made = await done(house, "PUT", f"{DEFAULT}/policies/quick", leaf_days(0.25))
        leaf = made["properties"]["certificate"]["leafCertificateConfiguration"]
        assert leaf == {"validityPeriodInDays": 0.25}
        assert (await house.ask("PUT", f"{DEFAULT}/policies/day", leaf_days(1)))[0] == 201
        house.store.close()

    async def test_credential_is_made_shown_and_deleted_last(self, house: ManagementHouse) -> None:
        assert (await house.ask("PUT", DEFAULT, {}))[0] == 200
        await done(house, "PATCH", DEFAULT, {"tags": {"x": "y"}})
        assert [each["tags"] for each in (await done(house, "GET", "namespaces/works/credentials"))["value"]] == [
            {"x": "y"}
        ]
        assert (await house.ask("POST", f"{DEFAULT}/synchronize"))[0] == 202
        assert (await refusal(house, "DELETE", DEFAULT))[:2] == (409, "CredentialHasPolicies")
        assert (await house.ask("DELETE", f"{DEFAULT}/policies/plant-1"))[0] == 202
        assert (await house.ask("DELETE", f"{DEFAULT}/policies/plant-1"))[0] == 204
        assert (await house.ask("DELETE", DEFAULT))[0] == 202
        assert (await house.ask("DELETE", DEFAULT))[0] == 204
        assert (await refusal(house, "GET", DEFAULT))[:2] == (404, "ResourceNotFound")
        assert (await refusal(house, "GET", f"{DEFAULT}/policies"))[:2] == (404, "ResourceNotFound")
        assert (await house.ask("PUT", DEFAULT, {}))[0] == 201

    async def test_revoked_issuer_is_followed_by_the_next(self, house: ManagementHouse) -> None:
        assert (await house.ask("POST", f"{DEFAULT}/policies/plant-1/revokeIssuer"))[0] == 202
        assert house.adr.issuing_ca("works", "plant-1").generation == 2

    async def test_own_root_shows_its_csr(self, house: ManagementHouse) -> None:
        body = leaf_days(10, bringYourOwnRoot={"enabled": True})
        made = await done(house, "PUT", f"{DEFAULT}/policies/own", body)
        own = made["properties"]["certificate"]["certificateAuthorityConfiguration"]["bringYourOwnRoot"]
        assert (own["enabled"], own["status"]) == (True, "PendingActivation")
        assert own["certificateSigningRequest"].startswith("-----BEGIN CERTIFICATE REQUEST-----")
        path = f"{DEFAULT}/policies/own/activateBringYourOwnRoot"
        assert "certificateChain is missing" in (await refusal(house, "POST", path, {}))[2]
        assert (await refusal(house, "POST", path, {"certificateChain": "x"}))[1] == "InvalidCertificateChain"


class TestSecondGeneration:
    async def test_root_issuing_ca_and_policy_are_three_resources(self, house: ManagementHouse) -> None:
        await done(house, "PUT", "namespaces/lab", {}, version=SECOND)
        base = "namespaces/lab/certificateAuthorities"
        root = {"properties": {"certificateAuthorityType": "Root", "keyType": "ECC"}}
        status, made = await house.ask("PUT", f"{base}/top-root", root, version=SECOND)
        assert (status, made["properties"]["certificateAuthorityType"]) == (201, "Root")
        assert made["properties"]["subject"] == "CN=lab Root CA"
        issuer = {"issuerType": "Microsoft", "certificateAuthorityResourceId": made["id"]}
        ica = {"properties": {"certificateAuthorityType": "ICA", "issuer": issuer}}
        made = await done(house, "PUT", f"{base}/issuing", ica, version=SECOND)
        assert made["properties"]["issuer"] == issuer
        policy = {"properties": {"certificate": {"validityPeriodInDays": 9}}}
        path = f"{base}/issuing/certificatePolicies/nine-days"
        status, made = await house.ask("PUT", path, policy, version=SECOND)
        assert status == 201
        assert made["type"].endswith("/certificateAuthorities/certificatePolicies")
        assert made["properties"]["certificate"] == {"validityPeriodInDays": 9}
        assert [each["name"] for each in (await done(house, "GET", base, version=SECOND))["value"]] == [
            "top-root",
            "issuing",
        ]
        listed = await done(house, "GET", f"{base}/issuing/certificatePolicies", version=SECOND)
        assert [each["name"] for each in listed["value"]] == ["nine-days"]
        assert house.adr.policy("lab", "nine-days").authority == "issuing"

    async def test_what_the_first_generation_made_is_seen(self, house: ManagementHouse) -> None:
        listed = await done(house, "GET", f"{AUTHORITIES}/plant-1/certificatePolicies", version=SECOND)
        assert [each["name"] for each in listed["value"]] == ["plant-1"]
        assert await done(house, "GET", f"{AUTHORITIES}/default-root/certificatePolicies", version=SECOND) == {
            "value": []
        }

    async def test_policy_under_a_root_is_refused(self, house: ManagementHouse) -> None:
        path = f"{AUTHORITIES}/default-root/certificatePolicies/new-one"
        assert (await refusal(house, "PUT", path, {}, version=SECOND))[:2] == (409, "PolicyRequiresIssuingCa")
        assert len(house.adr.policies("works")) == 1

    async def test_policy_name_is_unique_in_its_namespace(self, house: ManagementHouse) -> None:
        await done(house, "PUT", f"{AUTHORITIES}/other", self.ica(), version=SECOND)
        path = f"{AUTHORITIES}/other/certificatePolicies/plant-1"
        assert (await refusal(house, "PUT", path, {}, version=SECOND))[:2] == (409, "ResourceAlreadyExists")
        assert (await refusal(house, "GET", path, version=SECOND))[0] == 404
        assert (await house.ask("DELETE", path, version=SECOND))[0] == 204

    async def test_policy_is_changed_and_deleted_without_its_issuing_ca(self, house: ManagementHouse) -> None:
        path = f"{AUTHORITIES}/plant-1/certificatePolicies/plant-1"
        body = {"properties": {"certificate": {"validityPeriodInDays": 8}}, "tags": {"a": "b"}}
        assert (await house.ask("PUT", path, body, version=SECOND))[0] == 200
        await done(house, "PATCH", path, {"properties": {"certificate": {"validityPeriodInDays": 11}}}, version=SECOND)
        shown = await done(house, "GET", path, version=SECOND)
        assert (shown["properties"]["certificate"]["validityPeriodInDays"], shown["tags"]) == (11, {"a": "b"})
        assert (await refusal(house, "DELETE", f"{AUTHORITIES}/plant-1", version=SECOND))[:2] == (
            409,
            "CertificateAuthorityHasPolicies",
        )
        assert (await house.ask("DELETE", path, version=SECOND))[0] == 202
        assert house.adr.authorities.current("works", "plant-1").state is AuthorityState.ACTIVE
        await done(house, "PATCH", f"{AUTHORITIES}/plant-1", {"tags": {"c": "d"}}, version=SECOND)
        assert (await done(house, "GET", f"{AUTHORITIES}/plant-1", version=SECOND))["tags"] == {"c": "d"}
        assert (await house.ask("DELETE", f"{AUTHORITIES}/plant-1", version=SECOND))[0] == 202
        assert (await house.ask("DELETE", f"{AUTHORITIES}/plant-1", version=SECOND))[0] == 204
        assert (await house.ask("DELETE", f"{AUTHORITIES}/default-root", version=SECOND))[0] == 202

    @pytest.mark.parametrize("action", ["revoke", "revokeAndRotate"])
    async def test_issuing_ca_is_revoked_and_the_root_is_not(self, house: ManagementHouse, action: str) -> None:
        assert (await house.ask("POST", f"{AUTHORITIES}/plant-1/{action}", version=SECOND))[0] == 202
        assert house.adr.issuing_ca("works", "plant-1").generation == 2
        for verb in (action, "activate"):
            refused = await refusal(house, "POST", f"{AUTHORITIES}/default-root/{verb}", version=SECOND)
            assert refused[:2] == (400, "InvalidCertificateAuthorityType")
        assert (
            await refusal(house, "POST", f"{AUTHORITIES}/plant-1/activate", {"certificateChain": "x"}, version=SECOND)
        )[:2] == (400, "InvalidCertificateChain")

    async def test_external_issuing_ca_has_the_form_of_the_version(self, house: ManagementHouse) -> None:
        draft = {"properties": {"certificateAuthorityType": "BringYourOwn", "keyType": "ECC"}}
        made = await done(house, "PUT", f"{AUTHORITIES}/own-one", draft, version=DRAFT)
        assert made["properties"]["certificateAuthorityType"] == "BringYourOwn"
        assert made["properties"]["bringYourOwn"]["status"] == "PendingActivation"
        shown = (await done(house, "GET", f"{AUTHORITIES}/own-one", version=SECOND))["properties"]
        assert (shown["certificateAuthorityType"], shown["issuer"]["issuerType"]) == ("ICA", "External")
        assert "certificateSigningRequest" in shown["issuer"]
        await done(house, "PUT", f"{AUTHORITIES}/own-two", self.ica(issuerType="External"), version=SECOND)
        assert (await refusal(house, "POST", f"{AUTHORITIES}/own-two/revoke", version=SECOND))[:2] == (
            400,
            "InvalidCertificateAuthorityType",
        )

    @pytest.mark.parametrize(
        ("properties", "words"),
        [
            ({}, "must be one of Root, ICA, BringYourOwn"),
            ({"certificateAuthorityType": "ICA", "keyType": "RSA"}, "the only key type is ECC"),
            ({"certificateAuthorityType": "ICA", "issuer": {"issuerType": "Me"}}, "must be Microsoft or External"),
            (
                {"certificateAuthorityType": "ICA", "issuer": {"certificateAuthorityResourceId": "/x/other"}},
                "the root of the namespace is 'default-root'",
            ),
        ],
    )
    async def test_malformed_authority_is_refused(self, house: ManagementHouse, properties: Any, words: str) -> None:
        refused = await refusal(house, "PUT", f"{AUTHORITIES}/new-one", {"properties": properties}, version=SECOND)
        assert refused[:2] == (400, "InvalidRequestContent")
        assert words in refused[2]
        assert len(house.adr.authorities.all_current("works")) == 1

    async def test_type_stays_and_a_second_root_is_refused(self, house: ManagementHouse) -> None:
        root = {"properties": {"certificateAuthorityType": "Root"}}
        assert "cannot be changed" in (await refusal(house, "PUT", f"{AUTHORITIES}/plant-1", root, version=SECOND))[2]
        assert (await refusal(house, "PUT", f"{AUTHORITIES}/root-2", root, version=SECOND))[:2] == (
            409,
            "ResourceAlreadyExists",
        )
        assert (await house.ask("PUT", f"{AUTHORITIES}/default-root", root, version=SECOND))[0] == 200

    @staticmethod
    def ica(**issuer: Any) -> dict[str, Any]:
        return {"properties": {"certificateAuthorityType": "ICA", "issuer": {"issuerType": "Microsoft", **issuer}}}


class TestDevices:
    async def test_device_keeps_what_it_is_told_and_its_identifier(self, house: ManagementHouse) -> None:
        policy = {"resourceId": f"{SCOPE}/{DEFAULT}/policies/plant-1"}
        properties = {"manufacturer": "M", "model": "X", "attributes": {"a": [1]}, "policy": policy}
        status, made = await house.ask("PUT", "namespaces/works/devices/Pump-1", {"properties": properties})
        assert status == 201
        identifier = made["properties"]["uuid"]
        assert made["properties"]["policy"] == policy
        await done(
            house, "PATCH", "namespaces/works/devices/Pump-1", {"properties": {"model": "Y"}, "tags": {"a": "b"}}
        )
        shown = await done(house, "GET", "namespaces/works/devices/Pump-1")
        assert (shown["properties"]["uuid"], shown["properties"]["model"]) == (identifier, "Y")
        assert (shown["properties"]["attributes"], shown["tags"]) == ({"a": [1]}, {"a": "b"})
        assert (await house.ask("PUT", "namespaces/works/devices/Pump-1", {"properties": {}}))[0] == 200
        shown = await done(house, "GET", "namespaces/works/devices/Pump-1")
        assert "model" not in shown["properties"]
        assert (await refusal(house, "GET", "namespaces/works/devices/pump-1"))[0] == 404  # IDs are case-sensitive

    async def test_list_goes_on_after_a_hundred(self, house: ManagementHouse) -> None:
        for number in range(150):
            house.adr.register_device("works", f"d{number:03}", None, NOW)
        first = await done(house, "GET", "namespaces/works/devices")
        assert len(first["value"]) == 100
        base, path = first["nextLink"].split("/subscriptions/")
        assert base == "https://localhost", "a client that knows no base follows it"
        rest = await house.answer("GET", f"/subscriptions/{path}")
        document = json.loads(rest.body)
        assert [each["name"] for each in document["value"]] == [f"d{number:03}" for number in range(100, 150)]
        assert "nextLink" not in document

    async def test_unknown_policy_or_bad_id_is_refused(self, house: ManagementHouse) -> None:
        path = "namespaces/works/devices/pump"
        for resource, code in (("/x/none", "ResourceNotFound"), ("/", "InvalidRequestContent")):
            body = {"properties": {"policy": {"resourceId": resource}}}
            assert (await refusal(house, "PUT", path, body))[1] == code
        assert (await refusal(house, "PUT", "namespaces/works/devices/a%20b", {}))[1] == "InvalidResourceName"
        assert (await refusal(house, "PUT", "namespaces/lab/devices/pump", {}))[1] == "ResourceNotFound"
        assert house.adr.devices.page("works") == []

    async def test_revoked_certificates_say_so(self, house: ManagementHouse) -> None:
        house.adr.register_device("works", "pump", "plant-1", NOW)
        request = CertificateRequest("pump", generate_key(KeyType.P256).public_key(), b"")
        house.adr.issue("works", "pump", request, NOW)
        path = "namespaces/works/devices/pump"
        (shown,) = (await done(house, "GET", f"{path}/certificates"))["value"]
        assert (shown["status"], shown["issuingCa"], shown["revokedAt"]) == ("Valid", "plant-1.1", None)
        assert (await house.ask("POST", f"{path}/revoke", {"disable": True}))[0] == 202
        (shown,) = (await done(house, "GET", f"{path}/certificates"))["value"]
        assert (shown["status"], shown["revocationReason"]) == ("Revoked", "keyCompromise")
        assert not house.adr.devices.require("works", "pump").enabled
        assert "disable must be true or false" in (await refusal(house, "POST", f"{path}/revoke", {"disable": 1}))[2]
        assert (await house.ask("DELETE", path))[0] == 202
        assert (await house.ask("DELETE", path))[0] == 204

    async def test_certificate_of_a_revoked_issuing_ca_is_revoked_and_an_old_one_expired(
        self, house: ManagementHouse
    ) -> None:
        house.adr.register_device("works", "pump", "plant-1", NOW)
        request = CertificateRequest("pump", generate_key(KeyType.P256).public_key(), b"")
        house.adr.issue("works", "pump", request, NOW)
        house.now = NOW + timedelta(days=31)
        path = "namespaces/works/devices/pump/certificates"
        assert [each["status"] for each in (await done(house, "GET", path))["value"]] == ["Expired"]
        house.now = NOW
        house.adr.revoke_issuing_ca("works", "plant-1", NOW)
        assert [each["status"] for each in (await done(house, "GET", path))["value"]] == ["Revoked"]


class TestOperations:
    async def test_operation_can_be_asked_for_in_both_ways(self, house: ManagementHouse) -> None:
        url = f"{SCOPE}/{DEFAULT}/policies/plant-1/revokeIssuer?api-version={FIRST}"
        answer = await house.answer("POST", url, base="https://localhost:8443")
        assert (answer.status, answer.headers["Retry-After"], answer.body) == (202, "1", b"")
        status_url, result_url = answer.headers["Azure-AsyncOperation"], answer.headers["Location"]
        assert status_url.startswith("https://localhost:8443/subscriptions/s1/providers/Microsoft.DeviceRegistry/")
        status = await house.answer("GET", status_url.removeprefix("https://localhost:8443"))
        document = json.loads(status.body)
        assert (status.status, document["status"]) == (200, "Succeeded")
        assert document["resourceId"].endswith("/policies/plant-1")
        result = await house.answer("GET", result_url.removeprefix("https://localhost:8443"))
        assert (result.status, result.body) == (204, b"")
        again = await house.answer("POST", status_url.removeprefix("https://localhost:8443"))
        assert again.status == 405

    async def test_unknown_operation_is_not_found(self, house: ManagementHouse) -> None:
        path = "/subscriptions/s1/providers/Microsoft.DeviceRegistry/locations/x/operationStatuses/y"
        assert (await house.answer("GET", f"{path}?api-version={FIRST}")).status == 404

    def test_operations_older_than_a_day_are_forgotten(self, house: ManagementHouse) -> None:
        operations = LongRunningOperations(house.store)
        old = operations.add("/x", NOW)
        new = operations.add("/y", NOW + KEPT + timedelta(seconds=1))
        assert operations.get(old.operation_id) is None
        assert operations.get(new.operation_id) == new

    async def test_refused_request_begins_no_operation(self, house: ManagementHouse) -> None:
        answer = await house.answer("DELETE", f"{SCOPE}/{DEFAULT}?api-version={FIRST}")
        assert answer.status == 409
        assert "Location" not in answer.headers


class TestRefusals:
    async def test_connections_end_and_the_answer_waits_for_the_commit(self, house: ManagementHouse) -> None:
        house.commit_fails = True
        status, code, message = await refusal(house, "PUT", "namespaces/lab", {})
        assert (status, code, message) == (500, "InternalServerError", "disk full")

    @pytest.mark.parametrize(
        ("method", "path", "version"),
        [
            ("PUT", "namespaces/works/credentials/default/policies/plant-2", FIRST),
            ("POST", "namespaces/works/credentials/default/policies/plant-1/revokeIssuer", FIRST),
            ("PUT", "namespaces/bare/credentials/default", FIRST),
            ("POST", "namespaces/works/certificateAuthorities/plant-1/revoke", SECOND),
        ],
    )
    async def test_key_that_cannot_be_kept_leaves_everything_as_it_was(
        self, house: ManagementHouse, monkeypatch: pytest.MonkeyPatch, method: str, path: str, version: str
    ) -> None:
        """A full disk is an error of ours, in ARM's form."""

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        await done(house, "PUT", "namespaces/bare", {})
        before = list(house.store._database.execute("SELECT tbl, key, value FROM records"))
        monkeypatch.setattr(MemoryKeyStore, "save", fail)
        answer = await house.answer(method, f"{SCOPE}/{path}?api-version={version}")
        error = json.loads(answer.body)["error"]
        assert (answer.status, error["code"]) == (500, "InternalServerError")
        assert error["message"] == "a key cannot be kept: No space left on device"
        assert list(house.store._database.execute("SELECT tbl, key, value FROM records")) == before

    @pytest.mark.parametrize("headers", [{}, {"authorization": "Basic x"}, {"authorization": "Bearer "}])
    async def test_request_without_a_bearer_token_is_refused(self, house: ManagementHouse, headers: Any) -> None:
        answer = await house.answer("GET", f"{SCOPE}/namespaces?api-version={FIRST}", headers=headers)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (401, "AuthenticationFailed")

    @pytest.mark.parametrize("peer", ["192.0.2.7", "", "2001:db8::1"])
    async def test_client_on_another_machine_is_refused(self, house: ManagementHouse, peer: str) -> None:
        answer = await house.answer("GET", f"{SCOPE}/namespaces?api-version={FIRST}", peer=peer)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (403, "AuthorizationFailed")
        assert (await house.answer("GET", f"{SCOPE}/namespaces?api-version={FIRST}", peer="::1")).status == 200

    @pytest.mark.parametrize(
        ("path", "status", "code"),
        [
            (f"{SCOPE}/namespaces", 400, "MissingApiVersionParameter"),
            (f"{SCOPE}/namespaces?api-version=latest", 400, "InvalidApiVersionParameter"),
            (f"{SCOPE}/nothing?api-version={FIRST}", 404, "InvalidResourceType"),
            (f"{SCOPE}/{DEFAULT}?api-version={SECOND}", 404, "InvalidResourceType"),
            (f"{SCOPE}/{AUTHORITIES}?api-version={FIRST}", 404, "InvalidResourceType"),
            (f"/subscriptions/s1/providers/Microsoft.Other/x?api-version={FIRST}", 404, "InvalidResourceType"),
            (f"{SCOPE}/namespaces/%ff?api-version={FIRST}", 400, "InvalidRequestUri"),
            (f"{SCOPE}/namespaces/a%2Fb?api-version={FIRST}", 400, "InvalidRequestUri"),
        ],
    )
    async def test_path_or_version_that_is_none_is_refused(
        self, house: ManagementHouse, path: str, status: int, code: str
    ) -> None:
        answer = await house.answer("GET", path)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)

    async def test_other_method_names_the_right_ones(self, house: ManagementHouse) -> None:
        status, code, message = await refusal(house, "POST", "namespaces/works")
        assert (status, code) == (405, "MethodNotAllowed")
        assert message == "POST is not one of DELETE, GET, PATCH, PUT"

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"{", "is not JSON"),
            (b"\xff", "is not JSON"),
            (b"[]", "must be an object"),
            (b'{"properties": NaN}', "NaN is no JSON number"),
            (b'{"location": "a\\u0000b"}', "location has characters that cannot be printed"),
            (b'{"properties": []}', "properties must be an object"),
            (json.dumps(leaf_days(True)).encode(), "must be a number of days"),
        ],
    )
    async def test_body_that_cannot_be_read_is_refused_with_its_place(
        self, house: ManagementHouse, body: bytes, words: str
    ) -> None:
        status, code, message = await refusal(house, "PUT", f"{DEFAULT}/policies/new-one", body=body)
        assert (status, code) == (400, "InvalidRequestContent")
        assert words in message

    def test_error_of_the_core_without_a_row_is_a_conflict_of_its_name(self) -> None:
        class Unheard(errors.adr.AdrError):
            """Not in the table."""

        refused = errors.of_registry(Unheard("x"))
        assert (refused.status, refused.code) == (409, "Unheard")
