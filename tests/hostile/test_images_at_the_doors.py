"""Whatever file comes in as a picture: an analysis or a sentence, in time, in bounded memory, and nobody else waits."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.hostile.doors import Doors, Fault, Outcome
from tests.hostile.images import HostileFile, corpus, sample
from tests.hostile.watched_server import MIB, WatchedServer

SEED = 20_261_129
#: Of one small file, and of a bomb: what a decoder may take is bounded, and this is more than that bound.
PATIENCE = 60.0  # seconds; only a fault is so slow
SMALL_GROWTH = 400 * MIB  # whatever else the process does meanwhile is in it
ALL_GROWTH = 3_000 * MIB


@dataclass
class Tally:
    """What a run saw."""

    outcomes: Counter[tuple[str, bool]] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")
    faults: list[str] = field(default_factory=list)

    def add(self, file: HostileFile, outcome: Outcome, door: str) -> None:
        """Count an outcome, and say what is wrong with it."""
        self.outcomes[file.kind, outcome.analysed] += 1
        self.slowest = max(self.slowest, (outcome.seconds, f"{file.name} at {door}"))
        if (file.whole and not outcome.analysed and door != "raw") or (file.foreign and outcome.analysed):
            self.faults.append(f"{file.name} at {door}: {outcome}")

    def print(self, server: WatchedServer, seconds: float) -> None:
        """The figures."""
        tried = sum(self.outcomes.values())
        analysed = sum(count for (_, taken), count in self.outcomes.items() if taken)
        print(f"\n{tried} handed in in {seconds:.0f} s: {analysed} analysed, {tried - analysed} refused")
        for kind in sorted({kind for kind, _ in self.outcomes}):
            print(f"  {kind}: {self.outcomes[kind, True]} analysed, {self.outcomes[kind, False]} refused")
        print(f"longest: {self.slowest[0]:.2f} s, {self.slowest[1]}")
        print(f"largest growth: {self.largest[0] / MIB:.0f} MiB, {self.largest[1]}")
        print(f"another visitor waited {server.slowest:.2f} s at most, {server.unanswered} times in vain")


def hand_in(files: Iterable[HostileFile], server: WatchedServer, doors: Doors, *, both: bool) -> Tally:
    """Each file through one of our own routes and through Gradio, `both` or by turns."""
    tally = Tally()
    for index, file in enumerate(files):
        content = file.make()
        kinds = (doors.http, doors.gradio)
        for kind in kinds if both else kinds[index % 2 :][:1]:
            door = kind[index // 2 % len(kind)]
            try:
                with server.growth() as grown:
                    tally.add(file, door(content), door.__name__)
            except Fault as fault:
                tally.faults.append(f"{file.name} at {door.__name__}: {fault}")
                continue
            tally.largest = max(tally.largest, (grown[0], f"{file.name} at {door.__name__}"))
        if index % 500 == 499:
            print(f"{index + 1} files, {len(tally.faults)} faults", flush=True)
        if not server.alive:
            tally.faults.append(f"{file.name}: the server is gone")
            break
    return tally


@pytest.mark.slow
def test_sixty_files_of_every_kind_meet_an_answer_or_a_sentence(tmp_path: Path, port: int):
    files = sample(SEED, 60)
    assert len({file.kind for file in files}) == 10
    begun = time.monotonic()
    with WatchedServer(tmp_path, port) as server:
        doors = Doors(server.address, PATIENCE)
        tally = hand_in(files, server, doors, both=False)
        doors.close()
        tally.print(server, time.monotonic() - begun)
        assert tally.faults == []
        assert server.complaints() == []
        assert server.unanswered == 0
        assert tally.largest[0] < SMALL_GROWTH
    assert {taken for _, taken in tally.outcomes} == {True, False}


@pytest.mark.hostile
def test_thousands_of_files_and_every_bomb_meet_an_answer_or_a_sentence(tmp_path: Path, port: int):
    begun = time.monotonic()
    with WatchedServer(tmp_path, port) as server:
        doors = Doors(server.address, PATIENCE)
        before = server.memory()
        tally = hand_in(corpus(SEED, 7, with_bombs=True), server, doors, both=True)
        kept = server.memory() - before
        doors.close()
        tally.print(server, time.monotonic() - begun)
        print(f"kept at the end: {kept / MIB:.0f} MiB")
        assert tally.faults == []
        assert server.complaints() == []
        assert server.unanswered == 0
        assert server.slowest < PATIENCE
        assert tally.largest[0] < ALL_GROWTH
        assert kept < ALL_GROWTH
    assert sum(tally.outcomes.values()) > 2 * 3_000
