"""Whether a service is so crowded that one more request for a list would be refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gloss.serving.model_thread import ModelThread
from gloss.serving.settings import ServingSettings

__all__ = ["Crowd"]


class Crowd:
    """Counts the requests for lists that are inside.

    Many may be inside that do not wait for the model yet: where lists are made faster than requests
    are read, these are the queue. Who still sends a body is not counted, and keeps nobody out.
    """

    def __init__(self, model: ModelThread, settings: ServingSettings) -> None:
        self._model = model
        self._most_inside = settings.max_waiting + settings.max_batch
        self._inside = 0

    @property
    def is_full(self) -> bool:
        return self._inside >= self._most_inside or self._model.is_full

    @property
    def retry_after(self) -> float:
        """Seconds after which another try makes sense."""
        return self._model.expected_wait

    @contextmanager
    def entered(self) -> Iterator[None]:
        """One more is inside, for the block."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
