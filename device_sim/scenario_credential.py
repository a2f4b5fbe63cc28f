"""What devices of a fleet prove their identity with, as sections of a scenario."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from certs.keys import KeyType
from device_sim.scenario_section import File, PositiveSeconds, Section


class IssuedCertificate(Section):
    """What onboarding certificates have in common: the type of the device's key, and how many days they live."""

    onboarding_key_type: Annotated[KeyType, Field(strict=False)] = KeyType.P256
    validity_days: PositiveSeconds = 365


class DevelopmentCa(IssuedCertificate):
    """A certificate of the local emulator's development CA."""

    kind: Literal["dev-ca"] = "dev-ca"


class GivenCa(IssuedCertificate):
    """A certificate of a CA whose certificate (PEM, then those above it, if DPS needs them) and key are files."""

    kind: Literal["ca"]
    certificate: File
    key: File


class GroupKey(Section):
    """Keys derived from an enrollment group's: given here, in a file, or by neither the local emulator's."""

    kind: Literal["group-key"]
    key: SecretStr | None = None
    key_file: File | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.key is not None and self.key_file is not None:
            raise ValueError("takes key or key_file, not both")
        return self


class IndividualKeys(Section):
    """A key for each device from a file with lines `registration-id,base64-key`, in the order of the devices."""

    kind: Literal["individual-keys"]
    file: File


Credential = Annotated[DevelopmentCa | GivenCa | GroupKey | IndividualKeys, Field(discriminator="kind")]
