"""When a container starts and ends, what its process sees, and what becomes of the inputs it leaves behind."""

import asyncio
import codecs
import contextlib
import json
import os
import shlex
import signal
import time
from pathlib import Path

from grpclib import GRPCError
from modal_proto import api_pb2 as pb

from tests import ROOT

from .calls import HEARTBEAT_SECONDS
from .endpoint import Endpoint, EndpointServer
from .processes import CONTAINER_START, ForkServer, start_interpreter
from .records import App, Bell, Container, Pool

KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
START_SECONDS = 30.0  # so long a fork may take until it asks for an input; usual are two
STOP_SECONDS = 3.0  # for @exit methods, when an app stops


class Containers:
    """Scheduling: one pool of containers per function."""

    def __init__(self) -> None:
        super().__init__()
        self.pools: dict[str, Pool] = {}
        self.forks: ForkServer | None = None
        self._tasks: set[asyncio.Task] = set()
        self._closing = False
        self._closing_bell = Bell()

    def pool(self, function_id: str) -> Pool:
        return self.pools.setdefault(function_id, Pool())

    def scale(self, function_id: str) -> None:
        """Start as many containers as the waiting inputs need and the limits allow."""
        pool, app = self.pool(function_id), self.app_of[function_id]
        function = self.definition(function_id)
        withheld = self.no_gpu and bool(function.resources.gpu_config.gpu_type)
        if self._closing or app.stopped or withheld:
            return
        each = function.max_concurrent_inputs or 1
        settings = function.autoscaler_settings
        most = min(settings.max_containers or self.containers_per_function, self.containers_per_function)
        needed = -(-(len(pool.pending) + sum(len(one.running) for one in pool.live)) // each)
        while len(pool.live) < min(max(needed, settings.min_containers), most):
            container = Container(self.new_id("ta"), function_id, function, app, started_at=time.time())
            pool.containers.append(container)
            task = asyncio.create_task(self._run(container))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def scale_all(self) -> None:
        for function_id in list(self.pools):
            self.scale(function_id)

    def idle_seconds(self, container: Container) -> float:
        """How long the container may wait for an input before it is scaled down."""
        window = container.function.autoscaler_settings.scaledown_window or 60
        return window if self.scaledown_window is None else self.scaledown_window

    def retire(self, container: Container) -> None:
        """Give the container no more inputs: it ends after the one that it runs."""
        container.retired = True
        self.pool(container.function_id).bell.ring()

    def retire_app(self, app: App) -> None:
        for pool in self.pools.values():
            for container in pool.containers:
                if container.app is app and not container.gone:
                    self.retire(container)

    def stop_app(self, app: App) -> None:
        """End the app's calls and containers, then its log."""
        app.stopped = True
        task = asyncio.create_task(self._stop_app(app))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def signal_container(self, container: Container, *, kill: bool) -> None:
        """SIGKILL the container with everything it started, or SIGINT it alone."""
        if container.process is not None and not container.gone:
            with contextlib.suppress(ProcessLookupError):
                if kill:
                    os.killpg(container.process.pid, signal.SIGKILL)
                else:
                    container.process.send_signal(signal.SIGINT)

    async def close_containers(self) -> None:
        self._closing = True
        self._closing_bell.ring()
        for pool in self.pools.values():
            for container in pool.containers:
                self.signal_container(container, kill=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.forks is not None:
            await self.forks.close()

    async def _stop_app(self, app: App) -> None:
        self.retire_app(app)
        stopped = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_TERMINATED, exception="the app was stopped")
        pools = [pool for function_id, pool in self.pools.items() if self.app_of[function_id] is app]
        containers = [container for pool in pools for container in pool.containers]
        for pool in pools:
            while pool.pending:
                self.settle(pool.pending.popleft(), stopped)
        for container in containers:
            for item in container.running.values():
                self.settle(item, stopped)
                container.cancelling.add(item.id)
            container.bell.ring()
        await app.bell.until(lambda: all(container.gone for container in containers), STOP_SECONDS)
        for container in containers:
            self.signal_container(container, kill=True)
        await app.bell.until(lambda: all(container.gone for container in containers), STOP_SECONDS)
        app.log_complete = True
        app.bell.ring()

    # -- one container's life -----------------------------------------------------------------------------------------

    async def _run(self, container: Container) -> None:
        try:
            await self._closing_bell.until(lambda: self._closing, self.start_delay)
            if not (container.retired or self._closing):
                await self._run_process(container)
        except (OSError, KeyError, GRPCError) as error:  # a file, image or volume that is not there
            container.startup_failure = pb.GenericResult(
                status=pb.GenericResult.GENERIC_STATUS_INTERNAL_FAILURE, exception=repr(error)
            )
        finally:
            self._leave(container)

    async def _run_process(self, container: Container) -> None:
        home = self.root / container.id
        env = self._prepare(container, home)
        server = EndpointServer(Endpoint(self, container))
        await server.start(path=str(home / "worker"))
        async with server:
            while await self._is_stillborn(container, home, env):
                pass  # another one

    async def _is_stillborn(self, container: Container, home: Path, env: dict[str, str]) -> bool:
        """Run a process to its end; whether it is a fork that hung before its first input, and was ended for that.

        A fork has one of its parent's threads: what another one had locked at that moment stays locked in it. That is
        no fault of what is tested, and rare.
        """
        if self.forks is None:
            process = container.process = await start_interpreter(self.python, home / "root", env)
        else:
            process = container.process = await self.forks.fork(home / "root", env)
        async with asyncio.TaskGroup() as followers:
            followers.create_task(self._follow(container, process.stdout, pb.FILE_DESCRIPTOR_STDOUT))
            followers.create_task(self._follow(container, process.stderr, pb.FILE_DESCRIPTOR_STDERR))
            stillborn = followers.create_task(self._end_if_mute(container))
            if self._closing:
                self.signal_container(container, kill=True)
            await process.wait()
            container.bell.ring()
            self.signal_container(container, kill=True)  # what it started may outlive it, and hold its output
        return stillborn.result() and not self._closing

    async def _end_if_mute(self, container: Container) -> bool:
        if self.forks is None:
            return False
        process = container.process

        def has_begun_or_ended() -> bool:
            return container.ready or process.returncode is not None

        if await container.bell.until(has_begun_or_ended, START_SECONDS):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        return True

    def _prepare(self, container: Container, home: Path) -> dict[str, str]:
        """Lay out the container's files and return its environment: nothing of ours but what the app brought."""
        function = container.function
        layers = self.image_layers(function.image_id)
        (home / "root").mkdir(parents=True)
        for mount_id in [*(layer.context_mount_id for layer in layers), *function.mount_ids]:
            for file in self.mounts.get(mount_id, []):
                self._place(home, file.filename, self.mount_files[file.sha256_hex])
        for mount in function.volume_mounts:
            self.volume(mount.volume_id).reload()
            self._link(Path(mount.mount_path), self.mounted_folder(mount.volume_id, mount.sub_path))

        env = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        env["HOME"] = str(home / "root")
        for line in (line for layer in layers for line in layer.dockerfile_commands):
            if line.startswith("ENV ") and not line.startswith("ENV PATH="):  # the image's programs are not here
                env.update({name: value for name, _, value in (word.partition("=") for word in shlex.split(line[4:]))})
        for secret_id in function.secret_ids:
            env.update(self.secret_values[secret_id])
        path = (CONTAINER_START, home / "root", home / "pkg", env.get("PYTHONPATH", ""))
        return env | {
            "MODAL_SERVER_URL": f"unix://{home / 'worker'}",
            "MODAL_TASK_ID": container.id,
            "MODAL_IS_REMOTE": "1",
            "MODAL_HEARTBEAT_INTERVAL": str(HEARTBEAT_SECONDS),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join(str(entry) for entry in path if str(entry)),
            "STAND_IN_REPOSITORY": str(ROOT),
            **self._arguments(container, home),
            **self.extra_env,
        }

    def _arguments(self, container: Container, home: Path) -> dict[str, str]:
        """Write the message the container starts from; say where in its environment."""
        function, bound = container.function, self.bound.get(container.function_id)
        variables = {"MODAL_CONTAINER_ARGUMENTS_PATH": str(home / "arguments")}
        if self.snapshots and function.checkpointing_enabled:
            function.is_checkpointing_function = True
            (home / "restore.json").write_text(json.dumps({}))  # there already: the restore follows at once
            variables |= {"MODAL_ENABLE_SNAP_RESTORE": "1", "MODAL_RESTORE_STATE_PATH": str(home / "restore.json")}
        arguments = pb.ContainerArguments(
            task_id=container.id,
            function_id=container.function_id,
            app_id=container.app.id,
            function_def=function,
            app_layout=self.layout(container.app),
            serialized_params=bound.serialized_params if bound else b"",
            checkpoint_id="ch-1" if function.is_checkpointing_function else "",
            environment_name="main",
        )
        (home / "arguments").write_bytes(arguments.SerializeToString())
        return variables

    def _place(self, home: Path, filename: str, data: bytes) -> None:
        target = Path(filename)
        if not target.is_relative_to(self.mount_root):
            target = home / filename.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def _link(self, mount_path: Path, folder: Path) -> None:
        """Make a volume appear at its mount path, where that lies in our own folder."""
        if not mount_path.is_relative_to(self.mount_root):
            return
        folder.mkdir(parents=True, exist_ok=True)
        mount_path.parent.mkdir(parents=True, exist_ok=True)
        if not (mount_path.is_symlink() and mount_path.readlink() == folder):  # a running container may be using it
            mount_path.unlink(missing_ok=True)  # the last container to start decides
            mount_path.symlink_to(folder)

    async def _follow(self, container: Container, stream: asyncio.StreamReader, descriptor: int) -> None:
        """Put what the container prints into the app's log and into ours."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        app = container.app
        while data := await stream.read(2**16):
            text = decoder.decode(data)
            item = pb.TaskLogs(data=text, file_descriptor=descriptor, timestamp=time.time())
            entry = str(len(app.log) + 1)
            batch = pb.TaskLogsBatch(task_id=container.id, function_id=container.function_id, entry_id=entry)
            batch.items.append(item)
            app.log.append(batch)
            app.bell.ring()
            if self.log is not None:
                print(text, end="", file=self.log, flush=True)

    def _leave(self, container: Container) -> None:
        """Decide what becomes of the inputs that the container has not finished."""
        container.gone = True
        container.app.bell.ring()
        pool = self.pool(container.function_id)
        left = [item for item in container.running.values() if item.output is None]
        container.running.clear()
        if not (container.ready or container.retired or any(one.ready for one in pool.live)):
            left += pool.pending  # the next container would not start either
            pool.pending.clear()
        code = container.process.returncode if container.process else None
        crashed = pb.GenericResult(
            status=pb.GenericResult.GENERIC_STATUS_INTERNAL_FAILURE, exception=f"the container exited with code {code}"
        )
        again = container.preempted or (container.ready and self.crash == "retry" and not container.app.stopped)
        for item in reversed(left):
            if again:
                self.reschedule(item)
            else:
                self.settle(item, container.startup_failure or crashed)
        if container.ready or container.retired or pool.pending:  # else a broken start would repeat for ever
            self.scale(container.function_id)
