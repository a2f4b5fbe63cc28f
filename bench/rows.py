"""The rows of the budgets table: one function for each, with its budget from the design beside it."""

import time
from collections.abc import Iterator
from dataclasses import asdict

from bench.bare import BareBench
from bench.generator_process import GeneratorProcess
from bench.hublet import ID_SCOPE
from bench.lab import IN_FLIGHT, MICROSECONDS, Lab, Measured, Slice
from bench.mosquitto import INSTALL
from bench.server import process_resident_bytes
from bench.table import Row

CONNECTS = 400
MESSAGES = 40_000
SENDERS = Slice(0, 100)
# What is done once before anything is measured: caches, allocators, the first commit.
WARM_UP_CONNECTS = 50
SIMULATOR_ROUNDS = 3
SIMULATED_DEVICES = 200
SIMULATED_IDLE = 2_000
# Of the onboarding fleet, beside those that the other rows have: a warm-up, the idle, and the rounds.
SIMULATED_IN_ALL = SIMULATED_IDLE + (SIMULATOR_ROUNDS + 1) * SIMULATED_DEVICES
MEMORY_ROUNDS = 3
NO_REFERENCE = f"mosquitto is missing: {INSTALL}"


def onboarding_row(lab: Lab, hublet: Measured) -> Row:
    """Whole onboarding ÷ its own cryptography; the devices become the fleet of the other rows."""
    bare_bench = BareBench()
    costs, references = [], []
    for devices in _portions(lab.onboarded, lab.rounds):
        references.append(bare_bench.measure().onboarding)
        costs.append(onboarding_cost(lab, hublet, devices))
    lab.generator.do("save_onboarded", path=lab.hub_fleet)
    bare = bare_bench.measure()
    parts = f"2 handshakes of {bare.handshake:.0f}, CSR {bare.csr_check:.0f}, P-384 signature {bare.signature:.0f}"
    return Row.of_ratio(
        "CPU per device onboarded", "µs", costs, references, f"its cryptography bare: {parts}", at_most=2, aim=1.4
    )


def onboarding_cost(lab: Lab, hublet: Measured, devices: Slice) -> float:
    """Return µs for each of the devices, none of which was onboarded before."""
    lab.generator.do("prepare_onboarding", fleet=lab.onboarding_fleet, **asdict(devices))
    cost, _ = lab.cost(hublet, "onboard", id_scope=ID_SCOPE, in_flight=IN_FLIGHT)
    return cost


def connect_row(lab: Lab, mosquitto: Measured | None, tls: str) -> Row:
    """TCP, TLS with a client certificate of a P-384 CA, CONNECT, CONNACK, DISCONNECT, close.

    hublet is started for this row, and as far as the fleet reaches each device connects once: nothing that a process
    remembers of a device helps.
    """
    costs, references = [], []
    with lab.hublet() as hublet:
        for number in range(lab.rounds):
            devices = Slice(number * CONNECTS % (lab.onboarded - CONNECTS + 1), CONNECTS)
            costs.append(lab.connect_cost(hublet, devices, tls=tls, connects=CONNECTS))
            if mosquitto is not None:
                references.append(lab.connect_cost(mosquitto, devices, tls=tls, connects=CONNECTS))
    name = f"CPU per connect, mutual TLS {tls}, P-384 CA"
    return Row.of_ratio(name, "µs", costs, references, _reference(mosquitto), at_most=1.0, aim=0.6)


def message_row(lab: Lab, hublet: Measured, mosquitto: Measured | None) -> Row:
    """128 bytes, QoS 1, one in flight for each of 100 clients: hublet stores it, mosquitto has no subscriber for it."""
    costs, references = [], []
    for _ in range(lab.rounds):
        costs.append(lab.message_cost(hublet, SENDERS, messages=MESSAGES))
        if mosquitto is not None:
            references.append(lab.message_cost(mosquitto, SENDERS, messages=MESSAGES))
    name = "CPU per QoS 1 message, stored"
    return Row.of_ratio(name, "µs", costs, references, _reference(mosquitto), at_most=6, aim=3)


def memory_row(lab: Lab, connections: int) -> Row:
    """Growth of the resident memory from few to many idle connections, each round in a process of its own."""
    sizes = []
    for _ in range(MEMORY_ROUNDS):
        with lab.hublet() as hublet:
            sizes.append(idle_kilobytes(lab, hublet, connections))
    return Row.of_value(
        "Memory per idle connected device", "KB", sizes, at_most=100, aim=48, reference_name=f"{connections:,} of them"
    )


def idle_kilobytes(lab: Lab, measured: Measured, connections: int) -> float:
    """Return KB (of 1,000 bytes) of resident memory for each connection that is opened and stays."""
    lab.connect_cost(measured, Slice(0, 100), tls="1.3", connects=WARM_UP_CONNECTS)
    before = measured.server.resident_bytes()
    lab.open_idle(measured, Slice(0, connections))
    grown = measured.server.resident_bytes() - before
    lab.close_idle()
    return grown / connections / 1_000


def start_row(lab: Lab, devices: int) -> Row:
    """From the start of the process to its wait file, with a state that holds so many devices."""
    return Row.of_value(
        "`hublet up` to ready", "s", list(_starts(lab)), at_most=2, aim=0.7, reference_name=f"{devices:,} devices"
    )


def _starts(lab: Lab) -> Iterator[float]:
    for _ in range(lab.rounds):
        started = time.perf_counter()
        server, _ = lab.installation.start()
        with server:
            yield time.perf_counter() - started


def simulator_rows(lab: Lab, hublet: Measured) -> list[Row]:
    """CPU of the simulator's engine ÷ hublet's for the same devices, none of them onboarded before; and its memory."""
    with lab.simulator(hublet) as fleet:
        kilobytes = _simulated_kilobytes(lab, fleet)
        costs, references = [], []
        for number in range(SIMULATOR_ROUNDS):
            first = lab.onboarded + SIMULATED_IDLE + (number + 1) * SIMULATED_DEVICES
            before = hublet.server.settled_cpu_seconds()
            done = fleet.do("come", first=first, devices=SIMULATED_DEVICES, messages=1)
            spent = hublet.server.settled_cpu_seconds() - before
            fleet.do("go")
            references.append(spent / done.count * MICROSECONDS)
            costs.append(done.cpu_seconds / done.count * MICROSECONDS)
    cpu = Row.of_ratio(
        "Simulator's CPU per device onboarded", "µs", costs, references, "hublet, same devices", at_most=1, aim=0.5
    )
    memory = Row.of_value(
        "Simulator's memory per idle device",
        "KB",
        [kilobytes],
        at_most=60,
        aim=48,
        reference_name=f"{SIMULATED_IDLE:,} of them",
    )
    return [cpu, memory]


def _simulated_kilobytes(lab: Lab, fleet: GeneratorProcess) -> float:
    """Return KB (of 1,000 bytes) of the simulator's memory for each device that is connected and silent."""
    fleet.do("come", first=lab.onboarded, devices=SIMULATED_DEVICES, messages=1)
    fleet.do("go")
    before = process_resident_bytes(fleet.pid)
    fleet.do("grow", first=lab.onboarded + SIMULATED_DEVICES, devices=SIMULATED_IDLE)
    return (process_resident_bytes(fleet.pid) - before) / SIMULATED_IDLE / 1_000


def _reference(mosquitto: Measured | None) -> str:
    return NO_REFERENCE if mosquitto is None else "mosquitto"


def _portions(count: int, parts: int) -> Iterator[Slice]:
    for number in range(parts):
        first = count * number // parts
        yield Slice(first, count * (number + 1) // parts - first)
