"""What one Device Provisioning Service is configured with."""

from dataclasses import dataclass
from datetime import timedelta

from dps.allocation import AllocationPolicy


@dataclass(frozen=True, slots=True)
class DpsSettings:
    """What one DPS is configured with.

    Attributes:
        name: short, for people.
        id_scope: unique in the process; tables and session keys hold it.
        host_names: the names devices dial.
        namespace: the ADR namespace it is linked to; None issues no certificates.
        retry_after_seconds: when a device shall poll next.
        assigning_delay: how long a registration stays `assigning`; zero is done by the first poll.
        operation_lifetime: how long an operation can be polled; longer than `assigning_delay`. The default
            is assumed.
        allocation_policy: for enrollments that name none.
        immediate_csr_errors: refuse a bad CSR at register instead of failing the operation.
        strict: what Azure documents instead of what its samples do (RSA keys, CSRs under old api-versions).

    Raises:
        ValueError: operations would expire before they are done.
    """

    name: str
    id_scope: str
    host_names: tuple[str, ...] = ()
    namespace: str | None = None
    retry_after_seconds: int = 3
    assigning_delay: timedelta = timedelta(0)
    operation_lifetime: timedelta = timedelta(minutes=15)
    allocation_policy: AllocationPolicy = AllocationPolicy.HASHED
    immediate_csr_errors: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        if self.operation_lifetime <= self.assigning_delay:
            raise ValueError(
                f"operation_lifetime {self.operation_lifetime} of DPS {self.name} is not longer than its "
                f"assigning_delay {self.assigning_delay}: operations would expire before they are done"
            )
