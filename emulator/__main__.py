"""The command `hublet`, and `python -m emulator`, which is the same."""


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback also while it still loads, which takes a second."""
    try:
        from emulator.cli import main as run  # noqa: PLC0415 - the loading is what may be interrupted
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
