"""Writes a run's report into a directory."""

from pathlib import Path

from device_sim.summary import Summary
from device_sim.summary_json import format_summary

PAGE_NAME = "report.html"
SUMMARY_NAME = "summary.json"


class ReportUnavailable(Exception):
    """The packages that make reports are not installed."""


def require_report() -> None:
    """Find out before a run, not after it, whether there can be a report.

    Raises:
        ReportUnavailable: jinja2 or plotly is missing.
    """
    try:
        import device_sim.report.page  # noqa: F401, PLC0415 - an extra that need not be installed
    except ImportError as error:
        raise ReportUnavailable(f"a report needs more packages ({error.name}): pip install 'hublet[report]'") from error


def write_report(summary: Summary, directory: Path) -> Path:
    """Write `report.html` and `summary.json`, and return where the page is.

    Raises:
        ReportUnavailable: jinja2 or plotly is missing.
        OSError: the directory cannot be made or written.
    """
    require_report()
    from device_sim.report.page import format_page  # noqa: PLC0415 - as above

    directory.mkdir(parents=True, exist_ok=True)
    (directory / SUMMARY_NAME).write_text(format_summary(summary) + "\n", encoding="utf-8")
    page = directory / PAGE_NAME
    page.write_text(format_page(summary), encoding="utf-8")
    return page
