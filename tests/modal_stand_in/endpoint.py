"""Turns each gRPC call into a method call: `VolumeGetFile2` becomes `cloud.volume_get_file2(request, container)`.

Nothing in a container's request names the container, so each container gets an address of its own, as on Modal,
where it talks to the worker under it.
"""

import asyncio
import functools
import re
import weakref

import grpclib.server
from grpclib import GRPCError, Status
from grpclib.protocol import H2Protocol
from grpclib.server import Stream
from modal_proto.api_grpc import ModalClientBase

from .records import Container


class Endpoint:
    """The service at one address: the clients' (no container) or one container's."""

    __mapping__ = ModalClientBase.__mapping__  # looks every RPC up as an attribute, see __getattr__

    def __init__(self, cloud, container: Container | None = None) -> None:
        self._cloud = cloud
        self._container = container

    def __getattr__(self, rpc: str):
        return functools.partial(self._serve, rpc)

    async def _serve(self, rpc: str, stream: Stream) -> None:
        self._cloud.rpc_calls[rpc] += 1
        if self._container is None:
            self._cloud.check_token(stream.metadata)
        handler = getattr(self._cloud, re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower(), None)
        if handler is None:
            raise GRPCError(Status.UNIMPLEMENTED, f"the stand-in does not know {rpc}")
        reply = handler(await stream.recv_message(), self._container)
        if hasattr(reply, "__aiter__"):
            async for message in reply:
                await stream.send_message(message)
        else:
            await stream.send_message(await reply)


class EndpointServer(grpclib.server.Server):
    """Listens for one endpoint; its end is its connections' end too, which grpclib leaves to the other side."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__([endpoint])
        self._protocols: weakref.WeakSet[H2Protocol] = weakref.WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._protocols.add(protocol)
        return protocol

    def close(self) -> None:
        """Accept no more; `wait_closed` does the rest."""
        assert self._server is not None
        for listener in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listener)

    async def wait_closed(self) -> None:
        """End every connection, also one that was accepted just now: asyncio would leave it open for good."""
        await asyncio.sleep(0)
        super().close()
        await asyncio.gather(*(handler.wait_closed() for handler in self._handlers))
        for protocol in self._protocols:
            protocol.connection.close()
        await super().wait_closed()  # from Python 3.12 on it waits for the connections
        await asyncio.sleep(0)  # their sockets are closed in the loop's next round
