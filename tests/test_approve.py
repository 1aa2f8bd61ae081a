"""Agreeing at a terminal to what a request costs beyond what was expected."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.stores import add, claim, settle_plan, two_steps

from outpaint_mcp.cli.main import main
from outpaint_mcp.models import Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.storage.records import RequestProgress, StepState

if TYPE_CHECKING:
    from outpaint_mcp.storage.store import Store

WORDS = "billed $5.0000, expected $0.2500; with what is left $5.2500 in all, instead of $0.5000"


@pytest.fixture(autouse=True)
def _environment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def held(store: Store) -> str:
    """A request of two steps, of which the first was billed at twenty times its estimate."""
    request_id = add(store, provider="runcomfy", account="an account")
    lease = claim(store, provider="runcomfy").lease
    settle_plan(store, lease)
    billed = dataclasses.replace(
        two_steps()[0], state=StepState.FETCHED, sent_at=1.0, remote_id="r", cost_usd=5
    )
    store.queue.update_step(lease, billed)
    store.queue.report(lease, RequestProgress(status=Status.IN_PROGRESS, step=WORDS, awaits_agreement=True))
    return request_id


class Terminal(io.StringIO):
    """Somebody at a keyboard."""

    def isatty(self) -> bool:
        return True


def approve(request_id: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["approve", request_id])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_who_says_yes_has_agreed_to_the_figures_that_were_shown(
    store: Store, held: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    assert approve(held) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    for words in (f"Request {held} costs more than was expected: {WORDS}.", "Do you agree? [y/N]"):
        assert words in printed.err
    assert f"Agreed: request {held} may cost $5.2500 in all." in printed.err
    assert store.ledger.to_agree(PERSON, held) is None
    store.ledger.check_sending(held)


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yes please\n"])
def test_who_says_anything_else_has_not(
    store: Store, held: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert approve(held) == 130
    assert "You did not agree: nothing more is sent." in capsys.readouterr().err
    assert store.ledger.to_agree(PERSON, held) is not None


def test_a_program_that_pipes_yes_into_it_does_not_agree(
    store: Store, held: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    assert approve(held) == 2
    printed = capsys.readouterr()
    assert WORDS in printed.err
    assert "Only a person can agree: run this command yourself, at a terminal." in printed.err
    assert store.ledger.to_agree(PERSON, held) is not None


def test_what_needs_no_agreement_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    request_id = add(store)
    assert approve(request_id) == 2
    assert f"Request {request_id} does not wait for anybody's agreement: it is in_queue." in (
        capsys.readouterr().err
    )


def test_what_there_is_not_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    assert approve("op_00000000000000000000") == 7
    assert "outpaint-mcp list" in capsys.readouterr().err


def test_what_has_been_agreed_to_is_not_asked_again(
    held: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("yes\nyes\n"))
    assert approve(held) == 0
    assert approve(held) == 2
    assert "does not wait for anybody's agreement: it is in_progress." in capsys.readouterr().err


def test_who_waits_at_a_terminal_for_what_is_held_is_told_how_to_agree(
    held: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["get", held])
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (5, "")
    assert WORDS in printed.err
    assert f'To agree, run "outpaint-mcp approve {held}"' in printed.err


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX")
def test_a_person_at_a_terminal_agrees(store: Store, held: str) -> None:
    outer, inner = os.openpty()
    approving = subprocess.Popen(
        [sys.executable, "-m", "outpaint_mcp", "approve", held], stdin=inner, stderr=subprocess.PIPE
    )
    os.close(inner)
    os.write(outer, b"y\n")
    _, printed = approving.communicate(timeout=60)
    os.close(outer)
    assert approving.returncode == 0, printed
    assert b"Agreed" in printed
    assert store.ledger.to_agree(PERSON, held) is None
