"""`hublet up`: run the emulator in the foreground until it is told to stop."""

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from certs.keyfile import FileKeyStore, KeyStore, MemoryKeyStore
from emulator.bootstrap import bootstrap
from emulator.clock import ClockState, system_now
from emulator.clock_control import read_clock
from emulator.commands.options import CONFIG, STATE_DIRECTORY, CommandFailed, complain
from emulator.commands.welcome import show_welcome
from emulator.config import Config, default_config, load_config
from emulator.listeners import Endpoints, Listeners, reserve_port, write_endpoints
from emulator.logs import configure_logging
from emulator.process import Process
from emulator.state import StateDirectory
from emulator.store import SqliteStore
from emulator.upkeep import Upkeep

logger = logging.getLogger("emulator")

CONFIGURATION_TABLE = "emulator.configuration"
CONFIGURATION_KEY = "path"


def up(
    state_dir: STATE_DIRECTORY,
    config: CONFIG = None,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Keep everything in memory.")] = False,
    mqtt_port: Annotated[int | None, typer.Option(help="MQTT over TLS [8883]; 0: any free port.")] = None,
    https_port: Annotated[int | None, typer.Option(help="HTTPS and WebSocket [443, else 8443].")] = None,
    control_port: Annotated[int | None, typer.Option(help="Control API on loopback [8080].")] = None,
    wait_file: Annotated[
        Path | None, typer.Option(help="Written with the ports once ready, removed at the end.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every packet's fate.")] = False,
) -> None:
    """Run the emulator until Ctrl-C."""
    configure_logging(verbose=verbose)
    with complain():
        state = None if ephemeral else StateDirectory(state_dir)
        if state is not None:
            state.check_database()
        with SqliteStore(state.database if state is not None else ":memory:") as store, ExitStack() as held:
            declared = _with_ports(
                _configuration(config, store), held, mqtt=mqtt_port, https=https_port, control=control_port
            )
            run(declared, store, state, wait_file)


def run(config: Config, store: SqliteStore, state: StateDirectory | None, wait_file: Path | None) -> None:
    """Compose the resources, and serve until a signal comes."""
    clock = read_clock(store)
    keys: KeyStore = FileKeyStore(state.keys) if state is not None else MemoryKeyStore()
    directory = state.path if state is not None else None
    resources = bootstrap(config, store, keys, directory, clock.now(), machine_now=system_now())
    store.commit()
    if clock.state != ClockState():
        logger.warning("the clock stands at %s, as at the last start: see `hublet clock`", clock.now().isoformat())
    upkeep = Upkeep(config, store, keys, directory, resources)
    clock_file = state.clock_file if state is not None else None

    def make() -> Process:
        return Process(
            resources,
            store,
            clock,
            _listeners(config),
            upkeep=upkeep,
            clock_file=clock_file,
            faults=config.declared_faults,
        )

    asyncio.run(_serve(make, state, wait_file))


def _configuration(path: Path | None, store: SqliteStore) -> Config:
    """Read the configuration; a state that was made with one keeps to it, even when it is not named again."""
    remembered = store.get(CONFIGURATION_TABLE, CONFIGURATION_KEY)
    if path is None and remembered is None:
        return default_config()
    if path is None:
        assert remembered is not None
        path = Path(json.loads(remembered.value))
        logger.info("configuration %s, as at the last start", path)
        if not path.exists():
            raise CommandFailed(
                f"this state was made with {path}, which is gone: name a configuration with --config, or `hublet reset`"
            )
    config = load_config(path)
    text = json.dumps(str(path.resolve()))
    if remembered is None or remembered.value != text:
        store.put(CONFIGURATION_TABLE, CONFIGURATION_KEY, text)
    return config


async def _serve(make: Callable[[], Process], state: StateDirectory | None, wait_file: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    process = make()  # amqtt wants the loop to be there
    endpoints = await process.start()
    try:
        _announce(process, state, wait_file, endpoints)
        await stop.wait()
    finally:
        for path in (state.run_file if state is not None else None, wait_file):
            if path is not None:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        await process.stop()


def _announce(process: Process, state: StateDirectory | None, wait_file: Path | None, endpoints: Endpoints) -> None:
    if state is not None:
        write_endpoints(state.run_file, endpoints)
    show_welcome(process.information())
    if wait_file is not None:
        write_endpoints(wait_file, endpoints)


def _with_ports(config: Config, held: ExitStack, *, mqtt: int | None, https: int | None, control: int | None) -> Config:
    """Let the command line's ports take the place of the declared ones; an HTTPS port that is named has no fallback.

    A control port of 0 becomes a free one here, which is kept free until `held` is closed: the certificates made
    before anybody listens say where it is.
    """
    named = {"mqtt": mqtt, "https": https, "control": control}
    update: dict[str, int | None] = {name: port for name, port in named.items() if port is not None}
    if https is not None:
        update["https_fallback"] = None
    if update.get("control", config.ports.control) == 0:
        update["control"] = held.enter_context(reserve_port()).getsockname()[1]
    return config.model_copy(update={"ports": config.ports.model_copy(update=update)})


def _listeners(config: Config) -> Listeners:
    ports = config.ports
    return Listeners(config.bind_addresses, ports.mqtt, ports.https, ports.https_fallback, ports.control)
