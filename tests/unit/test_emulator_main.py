import sys

import pytest

from emulator.__main__ import main


class Interrupting:
    """An importer during whose work Ctrl-C is pressed."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "emulator.cli":
            raise KeyboardInterrupt


def test_ctrl_c_while_the_command_loads_ends_it_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell has it: 128 and the number of the signal."""
    monkeypatch.delitem(sys.modules, "emulator.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert ended.value.__suppress_context__
