"""Who may look at a result by its address."""

import re

from inference.service.tickets import EVERYONE, Tickets


def test_a_ticket_is_long_random_and_no_digest_of_what_it_stands_for():
    drawn = {Tickets().issue("one", "key") for _ in range(50)}
    assert len(drawn) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", ticket) for ticket in drawn)


def test_a_result_keeps_its_ticket_and_shares_it_with_no_other():
    tickets = Tickets()
    own = tickets.issue("one", "key")
    others = [tickets.issue("one", "other"), tickets.issue("two", "key"), tickets.issue(EVERYONE, "key")]
    assert tickets.issue("one", "key") == own
    assert len({own, *others}) == 4
    assert [tickets.owner(ticket) for ticket in (own, *others)] == [
        ("one", "key"),
        ("one", "other"),
        ("two", "key"),
        (EVERYONE, "key"),
    ]


def test_tickets_end_with_their_session_and_only_with_theirs():
    tickets = Tickets()
    own, other, shipped = tickets.issue("one", "key"), tickets.issue("two", "key"), tickets.issue(EVERYONE, "key")
    tickets.end("one")
    assert tickets.owner(own) is None
    assert tickets.owner(other) == ("two", "key")
    assert tickets.owner(shipped) == (EVERYONE, "key")
    assert tickets.issue("one", "key") != own


def test_nobody_guesses_one():
    assert Tickets().owner("") is None
    assert Tickets().owner("../key") is None
