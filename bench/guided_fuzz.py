"""Coverage-guided malformed MQTT: `pip install atheris`, then `python -m bench.guided_fuzz -max_total_time=60`.

Arguments and corpora are libFuzzer's. The first byte of an input says how the rest is cut and whether a valid CONNECT
comes before it; what must hold is `bench.fuzz.Target.execute`'s.
"""

import asyncio
import sys

import atheris  # type: ignore[import-untyped]  # an optional extra

with atheris.instrument_imports(include=["broker"]):
    from bench.fuzz import Script, Step, Target, format_script

from broker.packets import format_packet
from tests.doubles.front import connect_packet

CONNECT = format_packet(connect_packet("dev1"))


def script_of(data: bytes) -> Script:
    """Turn an input of the fuzzer into a script for one connection."""
    choice, stream = data[0], data[1:]
    script = [Step(0, CONNECT), Step(None)] if choice & 1 else []
    size = (choice >> 1) or max(1, len(stream))
    for start in range(0, len(stream), size):
        script += [Step(0, stream[start : start + size]), Step(None)]
    return script


def main() -> None:
    """Run until libFuzzer has enough; a failure ends the process with the script to replay."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    async def make() -> Target:
        target = Target()
        await target.open()
        return target

    target = loop.run_until_complete(make())

    def one_input(data: bytes) -> None:
        if not data:
            return
        script = script_of(data)
        failure = loop.run_until_complete(target.execute(script))
        if failure:
            raise AssertionError(f"{failure}; replay with: python -m bench.fuzz --replay '{format_script(script)}'")

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
