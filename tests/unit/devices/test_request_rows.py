"""Every event of a fleet becomes one request row, and is counted as by any recorder."""

import pytest

from device_sim.phases import Phase
from device_sim.request_rows import RequestRow, RowRecorder


def test_every_event_is_one_row_in_order() -> None:
    recorder = RowRecorder()
    recorder.phase(Phase.HUB_TLS, 0.25)
    recorder.total("onboarding", 1.5)
    recorder.message("telemetry", 0.002)
    recorder.message("c2d")
    recorder.failed("RequestTimeout", Phase.REGISTER)
    recorder.failed("ConnectionLost")
    assert list(recorder.take()) == [
        RequestRow("phase", "hub_tls", 250),
        RequestRow("total", "onboarding", 1500),
        RequestRow("message", "telemetry", 2),
        RequestRow("message", "c2d"),
        RequestRow("phase", "register", failure="RequestTimeout"),
        RequestRow("device", "connection", failure="ConnectionLost"),
    ]
    assert list(recorder.take()) == []


def test_rows_do_not_replace_the_counting() -> None:
    recorder = RowRecorder()
    recorder.total("onboarding", 1.5)
    recorder.failed("ConnectionLost")
    snapshot = recorder.snapshot()
    assert snapshot.totals["onboarding"].histogram.maximum == pytest.approx(1.5, rel=1e-3)
    assert snapshot.error_count == 1
