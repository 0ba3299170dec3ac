"""Where bytes lie: blobs and volumes (real folders, served over HTTP as on Modal) and queues."""

import hashlib
import shutil
import urllib.parse
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal._serialization import deserialize
from modal._utils.blob_utils import BLOCK_SIZE
from modal_proto import api_pb2 as pb

from .records import Bell, Hold
from .volumes import Volume

QUEUE_CAPACITY = 5000  # items in a partition, docstring of modal.Queue


@dataclass(eq=False)
class Partition:
    """One first-in-first-out line of a queue."""

    items: deque[tuple[int, bytes]] = field(default_factory=deque)  # (entry number, value)
    entries: int = 0
    bell: Bell = field(default_factory=Bell)

    def take(self, count: int) -> list[bytes]:
        return [self.items.popleft()[1] for _ in range(min(count, len(self.items)))]

    def after(self, entry: int) -> list[pb.QueueItem]:
        return [pb.QueueItem(value=value, entry_id=str(number)) for number, value in self.items if number > entry]


class Storage:
    """The RPCs of blobs, volumes and queues."""

    def __init__(self) -> None:
        super().__init__()
        self.blobs: dict[str, bytes] = {}
        self.volumes: dict[str, Volume] = {}
        self.queues: dict[str, dict[bytes, Partition]] = {}
        self.http_url = ""  # set when the HTTP server has started
        self.hold: Hold | None = None
        self.refuse_result_bytes: int | None = None

    # -- blobs --------------------------------------------------------------------------------------------------------

    def http_app(self) -> web.Application:
        app = web.Application(client_max_size=2**32)
        app.add_routes(
            [
                web.put("/blob/{id}", self._put_blob),
                web.get("/blob/{id}", self._get_blob),
                web.get("/volume/{id}/{block}", self._get_block),
            ]
        )
        return app

    async def blob_create(self, request, container):
        limit = self.refuse_result_bytes
        if limit is not None and request.content_length > limit:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, f"{request.content_length} bytes exceed the limit of {limit}")
        blob_id = self.new_id("bl")
        urls = pb.UploadUrlList(items=[f"{self.http_url}/blob/{blob_id}"])
        return pb.BlobCreateResponse(blob_ids=[blob_id], upload_urls=urls)

    async def blob_get(self, request, container):
        return pb.BlobGetResponse(download_url=f"{self.http_url}/blob/{request.blob_id}")

    async def _put_blob(self, request: web.Request) -> web.Response:
        self.blobs[request.match_info["id"]] = data = await request.read()
        return web.Response(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})

    async def _get_blob(self, request: web.Request) -> web.Response:
        return web.Response(body=self.blobs[request.match_info["id"]])

    # -- volumes ------------------------------------------------------------------------------------------------------

    def volume(self, volume_id: str) -> Volume:
        """The volume.

        Raises:
            GRPCError: NOT_FOUND where it is unknown.
        """
        if volume_id not in self.volumes:
            raise GRPCError(Status.NOT_FOUND, f"no volume {volume_id}")
        return self.volumes[volume_id]

    def folder(self, volume_id: str, path: str = "") -> Path:
        """Where the path in the volume is for clients.

        Raises:
            GRPCError: NOT_FOUND where the volume is unknown or the path leads out of it.
        """
        return _inside(self.volume(volume_id).committed, path)

    def mounted_folder(self, volume_id: str, path: str = "") -> Path:
        """Where the path in the volume is for containers.

        Raises:
            GRPCError: as `folder`.
        """
        return _inside(self.volume(volume_id).mounted, path)

    async def volume_get_or_create(self, request, container):
        volume_id = self.named_id("vo", request)
        if volume_id not in self.volumes:
            self.volumes[volume_id] = Volume(self.root / "volumes" / volume_id)
        metadata = pb.VolumeMetadata(version=pb.VOLUME_FS_VERSION_V1, name=request.deployment_name)
        return pb.VolumeGetOrCreateResponse(volume_id=volume_id, version=pb.VOLUME_FS_VERSION_V1, metadata=metadata)

    async def volume_list(self, request, container):
        volumes = [(name, id_) for (kind, name), id_ in self.names.items() if kind == "vo"]
        items = [pb.VolumeListItem(label=name, volume_id=id_, metadata={"name": name}) for name, id_ in volumes]
        return pb.VolumeListResponse(items=items)

    async def volume_delete(self, request, container):
        shutil.rmtree(self.volume(request.volume_id).committed.parent)
        del self.volumes[request.volume_id]
        self.names = {key: id_ for key, id_ in self.names.items() if id_ != request.volume_id}
        return Empty()

    async def volume_heartbeat(self, request, container):
        return Empty()

    async def volume_commit(self, request, container):
        self.volume(request.volume_id).commit()
        return pb.VolumeCommitResponse()  # the client reloads, as `skip_reload` is not set

    async def volume_reload(self, request, container):
        volume = self.volume(request.volume_id)
        if volume.held_by(container.process.pid):  # the client says what it finds open
            raise GRPCError(Status.FAILED_PRECONDITION, "there are open files preventing the operation")
        volume.reload()
        return Empty()

    async def volume_put_files(self, request, container):
        targets = [(self.folder(request.volume_id, file.filename), file) for file in request.files]
        if request.disallow_overwrite_existing_files:
            for target, file in targets:
                if target.exists():
                    raise GRPCError(Status.ALREADY_EXISTS, f"{file.filename}: already exists")
        for target, file in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.mount_files[file.sha256_hex])
        return Empty()

    async def volume_list_files(self, request, container):
        root, target = self.folder(request.volume_id), self._existing(request)
        inside = target.rglob("*") if request.recursive else target.iterdir()
        paths = sorted(inside) if target.is_dir() else [target]
        yield pb.VolumeListFilesResponse(entries=[_entry(root, path) for path in paths])

    async def volume_get_file2(self, request, container):
        size = self._existing(request).stat().st_size
        start, length = request.start, request.len or size - request.start
        path = urllib.parse.quote(request.path)
        urls = [
            f"{self.http_url}/volume/{request.volume_id}/{block}?path={path}&start={start}&end={start + length}"
            for block in range(start // BLOCK_SIZE, -(-(start + length) // BLOCK_SIZE))
        ]
        return pb.VolumeGetFile2Response(get_urls=urls, size=size, start=start, len=length)

    async def volume_remove_file(self, request, container):
        target = self._existing(request)
        if not target.is_dir():
            target.unlink()
        elif request.recursive:
            shutil.rmtree(target)
        else:
            raise GRPCError(Status.INVALID_ARGUMENT, f"'{request.path}' is a directory: remove it recursively")
        return Empty()

    async def volume_copy_files(self, request, container):
        target = self.folder(request.volume_id, request.dst_path)
        for source in request.src_paths:
            shutil.copy(self.folder(request.volume_id, source), target)
        return Empty()

    def _existing(self, request) -> Path:
        target = self.folder(request.volume_id, request.path)
        if not target.exists():
            raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {request.path}")
        return target

    async def _get_block(self, request: web.Request) -> web.Response:
        block, query = int(request.match_info["block"]), request.query
        start = max(int(query["start"]), block * BLOCK_SIZE)
        with self.folder(request.match_info["id"], query["path"]).open("rb") as file:
            file.seek(start)
            return web.Response(body=file.read(min(int(query["end"]), (block + 1) * BLOCK_SIZE) - start))

    # -- queues -------------------------------------------------------------------------------------------------------

    async def queue_get_or_create(self, request, container):
        queue_id = self.named_id("qu", request)
        self.queues.setdefault(queue_id, {})
        return pb.QueueGetOrCreateResponse(queue_id=queue_id, metadata=pb.QueueMetadata(name=request.deployment_name))

    async def queue_heartbeat(self, request, container):
        return Empty()

    async def queue_delete(self, request, container):
        del self.queues[request.queue_id]
        self.names = {key: id_ for key, id_ in self.names.items() if id_ != request.queue_id}
        return Empty()

    async def queue_put(self, request, container):
        values = list(request.values)
        if container is not None and (hold := self.hold) is not None:
            passing = hold.passing(container, [deserialize(value, None) for value in values])
            self._put(request, values[:passing])
            values = values[passing:]
            if values:
                await hold.over.wait()
        self._put(request, values)
        return Empty()

    def _put(self, request, values: list[bytes]) -> None:
        partition = self._partition(request)
        if len(partition.items) + len(values) > QUEUE_CAPACITY:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, f"the queue's partition is full: {QUEUE_CAPACITY} items")
        for value in values:
            partition.entries += 1
            partition.items.append((partition.entries, value))
        partition.bell.ring()

    async def queue_get(self, request, container):
        partition = self._partition(request)
        values = await partition.bell.until(lambda: partition.take(request.n_values), request.timeout)
        return pb.QueueGetResponse(values=values)

    async def queue_next_items(self, request, container):
        partition, last = self._partition(request), int(request.last_entry_id or 0)
        items = await partition.bell.until(lambda: partition.after(last), request.item_poll_timeout)
        return pb.QueueNextItemsResponse(items=items)

    async def queue_len(self, request, container):
        partitions = self._queue(request).values() if request.total else [self._partition(request)]
        return pb.QueueLenResponse(len=sum(len(partition.items) for partition in partitions))

    async def queue_clear(self, request, container):
        partitions = self._queue(request).values() if request.all_partitions else [self._partition(request)]
        for partition in partitions:
            partition.items.clear()
        return Empty()

    def _queue(self, request) -> dict[bytes, Partition]:
        if request.queue_id not in self.queues:
            raise GRPCError(Status.NOT_FOUND, f"no queue {request.queue_id}")
        return self.queues[request.queue_id]

    def _partition(self, request) -> Partition:
        return self._queue(request).setdefault(request.partition_key, Partition())


def _inside(root: Path, path: str) -> Path:
    target = (root / path.strip("/")).resolve()
    if not target.is_relative_to(root):
        raise GRPCError(Status.NOT_FOUND, f"no path '{path}' in the volume")
    return target


def _entry(root: Path, path: Path) -> pb.FileEntry:
    stat = path.stat()
    kind = pb.FileEntry.DIRECTORY if path.is_dir() else pb.FileEntry.FILE
    size = 0 if path.is_dir() else stat.st_size
    return pb.FileEntry(path=path.relative_to(root).as_posix(), type=kind, mtime=int(stat.st_mtime), size=size)
