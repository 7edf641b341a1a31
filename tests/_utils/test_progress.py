"""Bars for a person who watches, lines for a log, and one setting for silence."""

import io
import itertools
import logging

import pytest
from rich.console import Console

from holomorph._utils import progress


@pytest.fixture
def clock(monkeypatch):
    """Every look at the clock is 20 s after the last."""
    times = itertools.count(0, 20)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(times)))


def test_a_line_every_30_seconds_says_what_is_left(clock, caplog):
    with caplog.at_level(logging.INFO, "holomorph.progress"), progress.bar("attacking", total=10) as bar:
        for _ in range(4):
            bar.advance()
    assert caplog.messages == [
        "attacking: 2 of 10 after 40 s, about 160 s left",
        "attacking: 4 of 10 after 80 s, about 120 s left",
    ]


def test_without_a_total_there_is_no_estimate(clock, caplog):
    with caplog.at_level(logging.INFO, "holomorph.progress"), progress.bar("reading") as bar:
        bar.advance()
        bar.advance()
    assert caplog.messages == ["reading: 2 done after 40 s"]


def test_one_setting_silences_bars_and_lines(clock, caplog, monkeypatch, capsys):
    monkeypatch.setenv(progress.SETTING, "off")
    with caplog.at_level(logging.INFO, "holomorph.progress"):
        assert list(progress.track(range(9), "counting")) == list(range(9))
        with progress.shown():
            assert list(progress.track(range(9), "counting")) == list(range(9))
    assert caplog.messages == []
    assert capsys.readouterr().err == ""


def test_the_setting_shows_bars_of_library_calls(monkeypatch, capsys):
    monkeypatch.setenv(progress.SETTING, "on")
    assert list(progress.track(range(3), "counting")) == [0, 1, 2]
    assert "counting" in capsys.readouterr().err


def test_a_quiet_command_is_quiet_inside(clock, caplog, capsys):
    with caplog.at_level(logging.INFO, "holomorph.progress"), progress.shown(enabled=False):
        list(progress.track(range(9), "counting"))
    assert (caplog.messages, capsys.readouterr().err) == ([], "")


def test_a_commands_lines_go_into_the_file_that_its_errors_go_to(clock, capsys):
    with progress.shown(Console(file=io.StringIO())):
        list(progress.track(range(3), "counting"))
    assert "counting: 2 of 3 after 40 s, about 20 s left" in capsys.readouterr().err
