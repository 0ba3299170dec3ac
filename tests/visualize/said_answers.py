"""Answers that say places, as the recordings of `factory` hold them: one token per character."""

from dataclasses import replace


def spelled(answer):
    """The tokens' texts."""
    return tuple(answer)


def answering(recording, answer):
    """A recording of a variant that wrote this answer itself, ids and all."""
    row = [token for token in recording.tokens if token.role in ("answer", "end")]
    replayed = "".join(token.text for token in row)
    ids = tuple(token.id for token in row) if answer == replayed else tuple(range(9_000, 9_000 + len(answer)))
    return replace(recording, answer=answer, answer_ids=ids, answer_pieces=spelled(answer)[: len(ids)])
