"""What a process remembers of its events is bounded and goes when it is drained."""

from gateway.state.memory import Memory, Record


def record(seq: int, epoch: int = 1) -> Record:
    return Record("settled", "{}", epoch, seq, at_ms=0, attempt_id=f"c{seq}#1")


def test_the_oldest_goes_first_when_it_is_full() -> None:
    memory = Memory(capacity=2)
    for seq in (1, 2, 3):
        memory.remember(record(seq))
    assert [event.seq for event in memory.undrained()] == [2, 3]
    assert memory.dropped == 1


def test_what_is_drained_is_forgotten() -> None:
    memory = Memory()
    for seq in (1, 2, 3):
        memory.remember(record(seq))
    memory.note_drained(1, 2)
    assert [event.seq for event in memory.undrained()] == [3]


def test_an_epoch_counts_more_than_a_sequence_number() -> None:
    memory = Memory()
    memory.remember(record(900, epoch=1))
    memory.remember(record(1, epoch=2))
    memory.note_drained(1, 1000)
    assert [(event.epoch, event.seq) for event in memory.undrained()] == [(2, 1)]


def test_what_the_authority_decided_is_merged_into_the_body() -> None:
    event = Record(
        "reserved",
        '{"attempt_id":"","number":0,"counters":[],"agent":"a"}',
        1,
        1,
        0,
        "2026-11-21",
        "c#2",
        "2",
        '["x"]',
    ).as_event()
    assert event.body == {"attempt_id": "c#2", "number": 2, "counters": ["x"], "agent": "a"}
