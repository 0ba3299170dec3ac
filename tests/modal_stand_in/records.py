"""What the stand-in remembers about calls, containers and apps; it knows neither gRPC streams nor processes' files."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from modal_proto import api_pb2 as pb

from .processes import Process

T = TypeVar("T")


class Bell:
    """Wakes every waiter at once; each then looks for itself whether what it waits for is there."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()

    async def until(self, ready: Callable[[], T], seconds: float) -> T:
        """Return the first true value of `ready()`, or its last value once the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not (value := ready()) and (left := deadline - loop.time()) > 0:
            rung = self._rung
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await rung.wait()
        return value


@dataclass(eq=False)
class Hold:
    """What containers of a function may still give; the rest waits until it is over, or until they are.

    What was asked before it began is none of its business: an input that an earlier caller left may still be answered.
    """

    function_name: str
    earlier: frozenset[str]  # ids of the inputs that were there before
    last_value: Callable[[Any], bool] | None  # the first value of each container that is so is the last one that passes
    outputs: int  # so many still pass, of all containers together
    silent: set[str] = field(default_factory=set)  # ids of containers that have put their last value
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def passing(self, container: "Container", values: list[Any]) -> int:
        """How many of the values that the container puts into a queue pass."""
        if self.last_value is None or not is_of(container, self.function_name):
            return len(values)
        if container.id in self.silent:
            return 0
        for number, value in enumerate(values, start=1):
            if self.last_value(value):
                self.silent.add(container.id)
                return number
        return len(values)

    async def let_through(self, container: "Container", input_id: str) -> None:
        """Return as soon as the container's output of that input may pass."""
        if is_of(container, self.function_name) and input_id not in self.earlier:
            self.outputs -= 1
            if self.outputs < 0:
                await self.over.wait()


@dataclass(eq=False)
class Call:
    """One FunctionCall: `.remote` and `.spawn` have one input, `.map` has many."""

    id: str
    function_id: str
    invocation_type: int
    inputs: list["Input"] = field(default_factory=list)
    outputs: list[pb.FunctionGetOutputsItem] = field(default_factory=list)  # in the order in which they came
    chunks: dict[int, pb.DataChunk] = field(default_factory=dict)  # what a generator yielded, numbered from 1
    bell: Bell = field(default_factory=Bell)

    @property
    def finished(self) -> bool:
        return all(item.output is not None for item in self.inputs)


@dataclass(eq=False)
class Input:
    """One input of a call, through every attempt to run it."""

    id: str
    call: Call
    index: int
    message: pb.FunctionInput
    attempt: int = 0
    failures: int = 0
    output: pb.FunctionGetOutputsItem | None = None
    timer: asyncio.TimerHandle | None = None


@dataclass(eq=False)
class Container:
    """One container process and the inputs it holds."""

    id: str
    function_id: str
    function: pb.Function
    app: "App"
    bell: Bell = field(default_factory=Bell)
    process: Process | None = None
    started_at: float = 0.0
    ready: bool = False  # it has asked for its first input
    retired: bool = False  # it gets no more inputs
    preempted: bool = False
    gone: bool = False
    startup_failure: pb.GenericResult | None = None
    running: dict[str, Input] = field(default_factory=dict)
    cancelling: set[str] = field(default_factory=set)
    inputs_taken: int = 0
    last_input_began: float = 0.0  # time.monotonic()
    last_input_ended_at: float | None = None


def is_of(function: "Container | pb.Function", name: str | None) -> bool:
    """Whether it is the function, or a container of the function, that is so called ("Name" or "Name.*" for a class).

    None stands for all of them.
    """
    known = (function.function if isinstance(function, Container) else function).function_name
    return name is None or name in (known, known.removesuffix(".*"))


@dataclass(eq=False)
class Pool:
    """The containers of one function (for a class: of one set of parameters) and the inputs that wait for them."""

    containers: list[Container] = field(default_factory=list)
    pending: deque[Input] = field(default_factory=deque)
    bell: Bell = field(default_factory=Bell)

    @property
    def live(self) -> list[Container]:
        return [container for container in self.containers if not (container.retired or container.gone)]


@dataclass(eq=False)
class App:
    """A deployed or ephemeral app, with the log that `modal run` follows."""

    id: str
    name: str
    state: int
    function_ids: dict[str, str] = field(default_factory=dict)
    class_ids: dict[str, str] = field(default_factory=dict)
    log: list[pb.TaskLogsBatch] = field(default_factory=list)
    stopped: bool = False
    log_complete: bool = False
    bell: Bell = field(default_factory=Bell)


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """What a test may know of a container; times are `time.time()`."""

    id: str
    app: str
    function_name: str
    pid: int | None  # None while it waits to start
    started_at: float
    inputs_taken: int
    running: bool
    last_input_ended_at: float | None
    alive: bool


@dataclass(frozen=True, slots=True)
class FunctionDefinition:
    """A function or class ("Name.*") as it was deployed; seconds, and 0 or None where nothing was asked for."""

    name: str
    app: str
    gpus: list[str]
    timeout: int
    startup_timeout: int
    scaledown_window: int
    min_containers: int
    max_containers: int
    memory_snapshot: bool
    experimental_options: dict[str, str]
    volumes: dict[str, str]  # mount path -> volume name
    secrets: list[str]
    methods: list[str]
    image_commands: list[str]  # Dockerfile lines, the base image's first
    message: pb.Function


@dataclass(frozen=True, slots=True)
class Payload:
    """The serialized bytes of one input or output."""

    function_name: str
    data: bytes
    in_blob: bool
