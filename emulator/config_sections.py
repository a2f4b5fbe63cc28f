"""The sections of `hublet.yaml` as typed values, with their defaults."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from adr.namespace import parse_namespace_name
from adr.policy import parse_policy_name
from dps.allocation import AllocationPolicy
from dps.enrollment import ProvisioningStatus, ReprovisionPolicy
from emulator import config_values as values
from emulator.config_values import DEV_CA, CertificateFile
from emulator.faults.declared import DeclaredFaults
from emulator.faults.fault import Fault
from emulator.faults.profiles import Profile
from emulator.faults.quota import QuotaMode, Tier
from hub.certificates import MAX_CERTIFICATES

LOCALHOST = "localhost"
RESOURCES = ("namespaces", "hubs", "dps")
SECONDS_PER_DAY = 86_400
# A primary and a secondary.
MAX_SIGNING_CAS = 2
# `custom` needs a webhook, which a file cannot name yet.
OFFERED_ALLOCATION_POLICIES = (AllocationPolicy.HASHED, AllocationPolicy.GEO_LATENCY, AllocationPolicy.STATIC)

Flag = Annotated[bool, PlainValidator(values.flag)]
Port = Annotated[int, PlainValidator(values.whole_number(0, 65_535))]
Text = Annotated[str, PlainValidator(values.text)]
HostName = Annotated[str, PlainValidator(values.host_name)]
Address = Annotated[str, PlainValidator(values.address)]
NamespaceName = Annotated[str, PlainValidator(values.name_of(parse_namespace_name))]
PolicyName = Annotated[str, PlainValidator(values.name_of(parse_policy_name))]
HubName = Annotated[str, PlainValidator(values.hub_name)]
DpsName = Annotated[str, PlainValidator(values.dps_name)]
RegistrationId = Annotated[str, PlainValidator(values.registration_id)]
DeviceId = Annotated[str, PlainValidator(values.device_id)]
IdScope = Annotated[str, PlainValidator(values.id_scope)]
SymmetricKey = Annotated[str, PlainValidator(values.symmetric_key)]
SigningCa = Annotated[CertificateFile | Literal["dev-ca"], PlainValidator(values.signing_ca)]
ClientCertificate = Annotated[CertificateFile, PlainValidator(values.client_certificate)]
Allocation = Annotated[AllocationPolicy, PlainValidator(values.choice(*OFFERED_ALLOCATION_POLICIES))]
Status = Annotated[ProvisioningStatus, PlainValidator(values.choice(*ProvisioningStatus))]


class Reprovision(StrEnum):
    """What happens to a device that registers again: it may move and take its twin along, or start anew, or it stays.

    Source: concepts-device-reprovision.md, the three choices of the portal (documented).
    """

    MIGRATE = "migrate"
    RESET = "reset"
    NEVER = "never"

    @property
    def policy(self) -> ReprovisionPolicy:
        """The same as an enrollment has it."""
        return ReprovisionPolicy(
            update_hub_assignment=self is not Reprovision.NEVER, migrate_device_data=self is Reprovision.MIGRATE
        )


Reprovisioning = Annotated[Reprovision, PlainValidator(values.choice(*Reprovision))]
InitialTwin = Annotated[Mapping[str, Any], PlainValidator(values.initial_twin)]


def _generate_as_mapping(value: object) -> object:
    if value == "generate":
        return {}
    if value is not None and not isinstance(value, Mapping | SymmetricKeySection):
        raise ValueError("must be generate, or a mapping of primary and perhaps secondary (the value is not shown)")
    return value


class Section(BaseModel):
    """A mapping of the file; a key without a value is an empty mapping, a key we do not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: object) -> object:
        return {} if value is None else value


class PolicySection(Section):
    """A credential policy: an issuing CA, and how many days its leaves live."""

    validity_days: Annotated[float, PlainValidator(values.number(0, 90))] = 30

    @property
    def leaf_validity(self) -> timedelta:
        """How long its leaves live, to the second."""
        return timedelta(seconds=round(self.validity_days * SECONDS_PER_DAY))


class NamespaceSection(Section):
    """An ADR namespace with its policies by name."""

    policies: Mapping[PolicyName, PolicySection] = Field(default_factory=dict)


class HubSection(Section):
    """An IoT Hub. `Config` fills an absent host name: `localhost` for the first hub, `<name>.localhost` for more.

    `ca_certificates` are trusted beside the ICAs of the namespace: their devices may use an onboarding certificate as
    an operational one. `disconnect_expired_certificates` ends a connection with the certificate it was made with.
    `issuing_delay_seconds` passes between the 202 and the result of a renewal; until then a second request conflicts.
    """

    host_name: HostName = LOCALHOST
    aliases: tuple[HostName, ...] = ()
    namespace: NamespaceName | None = None
    partitions: Annotated[int, PlainValidator(values.whole_number(1, 32))] = 2
    ca_certificates: Annotated[tuple[SigningCa, ...], AfterValidator(values.at_most(MAX_CERTIFICATES))] = ()
    disconnect_expired_certificates: Flag = False
    issuing_delay_seconds: Annotated[float, PlainValidator(values.number(0, 600))] = 0


class SymmetricKeySection(Section):
    """The keys of an enrollment; an absent one is generated at the first start and kept."""

    primary: SymmetricKey | None = Field(default=None, repr=False)
    secondary: SymmetricKey | None = Field(default=None, repr=False)


class EnrollmentSection(Section):
    """What individual enrollments and groups have in common. `hubs` are names; none allows every linked hub.

    `initial_twin` is what a new device starts with, and one that is reset: `{tags, properties: {desired}}`.
    """

    symmetric_key: Annotated[SymmetricKeySection | None, BeforeValidator(_generate_as_mapping)] = None
    credential_policy: Text | None = None
    provisioning_status: Status = ProvisioningStatus.ENABLED
    allocation: Allocation | None = None
    hubs: tuple[Text, ...] = ()
    reprovision: Reprovisioning = Reprovision.MIGRATE
    initial_twin: InitialTwin | None = None


class GroupSection(EnrollmentSection):
    """An enrollment group: of a CA (`dev-ca` or a PEM file), of one or two uploaded to the DPS, or of a symmetric key.

    An uploaded CA is trusted once its owner has proven possession; the group may name it before it is there.
    """

    ca: SigningCa | None = None
    ca_references: Annotated[tuple[Text, ...], AfterValidator(values.at_most(MAX_SIGNING_CAS))] = ()

    @model_validator(mode="after")
    def _one_attestation(self) -> Self:
        if [self.ca is None, not self.ca_references, self.symmetric_key is None].count(False) != 1:
            raise ValueError(
                "needs one of ca (dev-ca or a PEM file), ca_references (names of CAs uploaded to this DPS) and "
                "symmetric_key (generate, or its keys)"
            )
        return self


class IndividualSection(EnrollmentSection):
    """One device, by its certificate (a PEM file) or its own symmetric key."""

    certificate: ClientCertificate | None = None
    device_id: DeviceId | None = None

    @model_validator(mode="after")
    def _one_attestation(self) -> Self:
        if (self.certificate is None) == (self.symmetric_key is None):
            raise ValueError("needs either certificate (a PEM file) or symmetric_key (generate, or its keys)")
        return self


class DpsSection(Section):
    """A DPS instance. Without `id_scope` one is made at the first start; without `linked_hubs` all are linked.

    `immediate_csr_errors` answers a CSR that breaks a rule with 400 at register, instead of letting the registration
    fail: which of the two Azure does is not known.
    """

    id_scope: IdScope | None = None
    host_names: tuple[HostName, ...] = (LOCALHOST,)
    namespace: NamespaceName | None = None
    linked_hubs: tuple[Text, ...] | None = None
    retry_after_seconds: Annotated[int, PlainValidator(values.whole_number(0, 300))] = 3
    assigning_delay_seconds: Annotated[float, PlainValidator(values.number(0, 600))] = 0
    immediate_csr_errors: Flag = False
    enrollment_groups: Mapping[RegistrationId, GroupSection] = Field(default_factory=dict)
    individual_enrollments: Mapping[RegistrationId, IndividualSection] = Field(default_factory=dict)


class PortsSection(Section):
    """TCP ports; 0 takes any free one. `https_fallback` is taken where `https` may not be bound."""

    mqtt: Port = 8883
    https: Port = 443
    https_fallback: Port | None = 8443
    control: Port = 8080


class QuirksSection(Section):
    """Departures from the service that some client needs."""

    bare_certificate_array: Flag = False
    deliver_earlier_messages: Flag = False


class FaultsSection(Section):
    """What goes wrong on purpose from the start; `hublet fault` changes it while the emulator runs."""

    profile: Annotated[Profile, PlainValidator(values.switch(*Profile))] = Profile.OFF
    seed: Annotated[int, PlainValidator(values.whole_number(0, 2**63 - 1))] = 0
    rules: tuple[Annotated[Fault, PlainValidator(values.fault)], ...] = ()
    message_properties: Flag = True


def _mode_as_mapping(value: object) -> object:
    return {"mode": value} if isinstance(value, str | bool) else value


class QuotaSection(Section):
    """Whether the documented limits of DPS and hubs are enforced, or only reported on."""

    mode: Annotated[QuotaMode, PlainValidator(values.switch(*QuotaMode))] = QuotaMode.OFF
    tier: Annotated[Tier, PlainValidator(values.choice(*Tier))] = Tier.S1
    units: Annotated[int, PlainValidator(values.whole_number(1, 200))] = 1


def _default_namespaces() -> dict[str, NamespaceSection]:
    return {"default": NamespaceSection(policies={"default": PolicySection()})}


def _default_hubs() -> dict[str, HubSection]:
    return {"hub1": HubSection(namespace="default")}


def _default_dps() -> dict[str, DpsSection]:
    groups = {
        "dev-ca": GroupSection(ca=DEV_CA, credential_policy="default"),
        "symmetric-key": GroupSection(symmetric_key=SymmetricKeySection(), credential_policy="default"),
    }
    return {"dps1": DpsSection(namespace="default", enrollment_groups=groups)}


class Config(Section):
    """A whole configuration. One that names no namespaces, hubs or DPS gets the default ones.

    `host_names` are what the server certificate carries beside the names of hubs and DPS, `localhost` and the
    loopback addresses. `strict` holds clients to what Azure documents instead of what its samples do.
    `allow_short_validity` lets certificates live for less than seven days.
    """

    namespaces: Mapping[NamespaceName, NamespaceSection] = Field(default_factory=_default_namespaces)
    hubs: Mapping[HubName, HubSection] = Field(default_factory=_default_hubs)
    dps: Mapping[DpsName, DpsSection] = Field(default_factory=_default_dps)
    ports: PortsSection = Field(default_factory=PortsSection)
    bind_addresses: Annotated[tuple[Address, ...], AfterValidator(values.at_least_one)] = ("127.0.0.1", "::1")
    host_names: tuple[HostName, ...] = ()
    strict: Flag = False
    allow_short_validity: Flag = False
    quirks: QuirksSection = Field(default_factory=QuirksSection)
    faults: FaultsSection = Field(default_factory=FaultsSection)
    quota: Annotated[QuotaSection, BeforeValidator(_mode_as_mapping)] = Field(default_factory=QuotaSection)

    @property
    def declared_faults(self) -> DeclaredFaults:
        """What goes wrong on purpose."""
        faults, quota = self.faults, self.quota
        return DeclaredFaults(
            profile=faults.profile,
            seed=faults.seed,
            faults=faults.rules,
            message_properties=faults.message_properties,
            quota=quota.mode,
            tier=quota.tier,
            units=quota.units,
        )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        names_resources = any(key in value for key in RESOURCES)
        nothing: dict[str, object] = {key: {} for key in RESOURCES} if names_resources else {}
        hubs = value.get("hubs")
        filled = {"hubs": _with_host_names(hubs)} if isinstance(hubs, dict) else {}
        return {**nothing, **{key: {} if item is None else item for key, item in value.items()}, **filled}


def _with_host_names(hubs: Mapping[object, object]) -> dict[object, object]:
    first = next(iter(hubs), None)
    return {
        name: {"host_name": LOCALHOST if name == first else f"{name}.{LOCALHOST}", **(section or {})}
        if section is None or isinstance(section, dict)
        else section
        for name, section in hubs.items()
    }
