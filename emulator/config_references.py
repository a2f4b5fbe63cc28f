"""The rules of a configuration that concern more than one of its fields: names that must exist, or differ."""

from collections.abc import Iterator, Mapping

from adr.errors import ValidityOutOfRange
from adr.policy import check_leaf_validity
from dps.allocation import AllocationPolicy
from emulator.config_error import Problem, suggest
from emulator.config_sections import (
    Config,
    DpsSection,
    EnrollmentSection,
    GroupSection,
    NamespaceSection,
    PortsSection,
)
from emulator.config_values import CertificateFile


def broken_references(config: Config) -> list[Problem]:
    """Check a configuration whose fields are right one by one."""
    return [
        *_validities(config),
        *_hub_namespaces(config),
        *_shared_host_names(config),
        *_same_without_case(("hubs",), config.hubs),
        *_dps(config),
        *_shared_ports(config.ports),
    ]


def _validities(config: Config) -> Iterator[Problem]:
    for namespace, section in config.namespaces.items():
        place = ("namespaces", namespace, "policies")
        yield from _same_without_case(place, section.policies)
        for policy, terms in section.policies.items():
            try:
                check_leaf_validity(terms.leaf_validity, allow_short=config.allow_short_validity)
            except ValidityOutOfRange:
                allowed = "a minute to 90 days" if config.allow_short_validity else "7 to 90 whole days"
                hint = "" if config.allow_short_validity else " (less with allow_short_validity: true)"
                message = f"must be {allowed}{hint}, not {terms.validity_days:g}"
                yield Problem((*place, policy, "validity_days"), message)


def _hub_namespaces(config: Config) -> Iterator[Problem]:
    for name, hub in config.hubs.items():
        yield from _known_namespace(config, ("hubs", name, "namespace"), hub.namespace)


def _known_namespace(config: Config, path: tuple[str, ...], namespace: str | None) -> Iterator[Problem]:
    if namespace is not None and namespace not in config.namespaces:
        yield Problem(path, f"no namespace {namespace!r}: {suggest(namespace, list(config.namespaces))}")


def _shared_host_names(config: Config) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for name, hub in config.hubs.items():
        for field, host_names in (("host_name", (hub.host_name,)), ("aliases", hub.aliases)):
            for host_name in host_names:
                owner = owners.setdefault(host_name, name)
                if owner != name:
                    yield Problem(("hubs", name, field), f"{host_name!r} belongs to hub {owner!r} already")


def _same_without_case(place: tuple[str, ...], names: Mapping[str, object]) -> Iterator[Problem]:
    known: dict[str, str] = {}
    for name in names:
        first = known.setdefault(name.lower(), name)
        if first != name:
            yield Problem((*place, name), f"is the same name as {first!r}: names compare without case")


def _dps(config: Config) -> Iterator[Problem]:
    scopes: dict[str, str] = {}
    yield from _same_without_case(("dps",), config.dps)
    for name, dps in config.dps.items():
        place = ("dps", name)
        yield from _known_namespace(config, (*place, "namespace"), dps.namespace)
        yield from _known_hubs((*place, "linked_hubs"), dps.linked_hubs or (), list(config.hubs))
        if dps.id_scope is not None and scopes.setdefault(dps.id_scope.lower(), name) != name:
            yield Problem(
                (*place, "id_scope"), f"{dps.id_scope!r} belongs to DPS {scopes[dps.id_scope.lower()]!r} already"
            )
        for kind, enrollments in _enrollments(dps).items():
            yield from _same_without_case((*place, kind), enrollments)
            for enrollment, section in enrollments.items():
                yield from _enrollment(config, dps, (*place, kind, enrollment), section)
        yield from _shared_cas((*place, "enrollment_groups"), dps.enrollment_groups)


def _enrollments(dps: DpsSection) -> dict[str, Mapping[str, EnrollmentSection]]:
    return {"enrollment_groups": dps.enrollment_groups, "individual_enrollments": dps.individual_enrollments}


def _enrollment(
    config: Config, dps: DpsSection, place: tuple[str, ...], section: EnrollmentSection
) -> Iterator[Problem]:
    linked = list(config.hubs if dps.linked_hubs is None else dps.linked_hubs)
    yield from _known_hubs((*place, "hubs"), section.hubs, linked)
    if section.allocation is AllocationPolicy.STATIC and len(section.hubs) != 1:
        yield Problem((*place, "hubs"), f"a static allocation needs one hub here, not {len(section.hubs)}")
    if section.credential_policy is None:
        return
    path = (*place, "credential_policy")
    namespace = config.namespaces.get(dps.namespace or "")
    if dps.namespace is None:
        yield Problem(path, f"needs the DPS to be linked to a namespace: set dps.{place[1]}.namespace")
    elif namespace is not None:
        yield from _known_policy(path, section.credential_policy, dps.namespace, namespace)
        yield from _hubs_of_namespace(config, path, section.hubs or linked, dps.namespace)


def _shared_cas(place: tuple[str, ...], groups: Mapping[str, GroupSection]) -> Iterator[Problem]:
    """A CA certificate belongs to one group: which one a device belongs to must not depend on chance."""
    owners: dict[object, str] = {}
    for name, group in groups.items():
        certificates = group.ca.certificates if isinstance(group.ca, CertificateFile) else [group.ca]
        for certificate in certificates:
            owner = owners.setdefault(certificate, name) if certificate is not None else name
            if owner != name:
                yield Problem((*place, name, "ca"), f"group {owner!r} has this CA already")


def _known_policy(path: tuple[str, ...], policy: str, namespace: str, section: NamespaceSection) -> Iterator[Problem]:
    if policy.lower() not in {name.lower() for name in section.policies}:
        known = suggest(policy, list(section.policies))
        yield Problem(path, f"namespace {namespace!r} has no policy {policy!r}: {known}")


def _hubs_of_namespace(
    config: Config, path: tuple[str, ...], hubs: tuple[str, ...] | list[str], namespace: str
) -> Iterator[Problem]:
    """A device with a certificate of this namespace could not connect to a hub of another.

    Source: concept-certificate-issuance.md: DPS and hub are linked to the same namespace (documented).
    """
    for name in hubs:
        hub = config.hubs.get(name)
        if hub is not None and hub.namespace != namespace:
            yield Problem(path, f"hub {name!r} may be assigned and is not linked to namespace {namespace!r}")


def _known_hubs(path: tuple[str, ...], names: tuple[str, ...], known: list[str]) -> Iterator[Problem]:
    for name in names:
        if name not in known:
            yield Problem(path, f"no linked hub {name!r}: {suggest(name, known)}")


def _shared_ports(ports: PortsSection) -> Iterator[Problem]:
    owners: dict[int, str] = {}
    for field, port in ports:
        if port and owners.setdefault(port, field) != field:
            yield Problem(("ports", field), f"{port} is taken by ports.{owners[port]} already")
