"""Inputs and outputs: what callers ask for, what containers take and give back."""

import asyncio
import time
from collections import deque

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal._serialization import serialize
from modal.exception import ResourceExhaustedError
from modal_proto import api_pb2 as pb

from .records import Call, Container, Input, Payload

HEARTBEAT_SECONDS = 5.0  # how often a container asks, at the latest
OUTPUTS_AT_ONCE = 49
KILL_SWITCH = pb.FunctionGetInputsResponse(inputs=[pb.FunctionGetInputsItem(kill_switch=True)])


class Calls:
    """The RPCs around function calls, of clients and of containers."""

    def __init__(self) -> None:
        super().__init__()
        self.function_calls: dict[str, Call] = {}
        self.last_inputs: deque[Payload] = deque(maxlen=20)
        self.last_outputs: deque[Payload] = deque(maxlen=20)

    # -- the caller's side --------------------------------------------------------------------------------------------

    async def function_map(self, request, container):
        if self.app_of[request.function_id].stopped:
            raise GRPCError(Status.NOT_FOUND, f"the app of {request.function_id} is stopped")
        call = Call(self.new_id("fc"), request.function_id, request.function_call_invocation_type)
        self.function_calls[call.id] = call
        accepted = self._enqueue(call, request.pipelined_inputs)
        return pb.FunctionMapResponse(function_call_id=call.id, function_call_jwt=call.id, pipelined_inputs=accepted)

    async def function_put_inputs(self, request, container):
        accepted = self._enqueue(self._call(request), request.inputs)
        return pb.FunctionPutInputsResponse(inputs=accepted)

    async def function_finish_inputs(self, request, container):
        return Empty()

    async def function_get_outputs(self, request, container):
        call = self._call(request)
        seen = int(request.last_entry_id.partition("-")[0] or 0)

        def fresh() -> list[pb.FunctionGetOutputsItem]:
            if request.HasField("start_idx"):
                return [item for item in call.outputs if request.start_idx <= item.idx <= request.end_idx]
            return call.outputs[seen : seen + OUTPUTS_AT_ONCE]

        outputs = await call.bell.until(fresh, request.timeout)
        return pb.FunctionGetOutputsResponse(
            outputs=outputs,
            idxs=[item.idx for item in outputs],
            last_entry_id=f"{seen + len(outputs)}-0",
            num_unfinished_inputs=sum(item.output is None for item in call.inputs),
        )

    async def function_call_get_data_out(self, request, container):
        call, following = self._call(request), request.last_index + 1

        def more() -> bool:
            return following in call.chunks or call.finished

        while await call.bell.until(more, 50) and following in call.chunks:
            yield call.chunks[following]
            following += 1

    async def function_call_from_id(self, request, container):
        call = self._call(request)
        metadata = pb.FunctionCallHandleMetadata(app_id=self.app_of[call.function_id].id, function_id=call.function_id)
        return pb.FunctionCallFromIdResponse(function_call_id=call.id, num_inputs=len(call.inputs), metadata=metadata)

    async def function_call_cancel(self, request, container):
        call = self._call(request)
        pool = self.pool(call.function_id)
        waiting = [item for item in call.inputs if item.output is None]
        for item in waiting:
            self.settle(item, _failure(pb.GenericResult.GENERIC_STATUS_TERMINATED, "Input was cancelled by user"))
        pool.pending = deque(item for item in pool.pending if item.output is None)
        for holder in pool.containers:
            hit = holder.running.keys() & {item.id for item in waiting}
            holder.cancelling |= hit
            holder.bell.ring()
            if hit and request.terminate_containers:
                self.signal_container(holder, kill=True)
        return Empty()

    async def function_get_current_stats(self, request, container):
        pool = self.pool(request.function_id)
        running = sum(len(holder.running) for holder in pool.containers)
        return pb.FunctionStats(backlog=len(pool.pending), num_total_tasks=len(pool.live), num_running_inputs=running)

    # -- the container's side -----------------------------------------------------------------------------------------

    async def container_hello(self, request, container):
        return Empty()

    async def container_heartbeat(self, request, container):
        """Answer as soon as there is something to cancel, again and again until the container has reacted.

        A cancellation that comes between an input's delivery and its first line of code is lost in the container.
        """
        ids = await container.bell.until(lambda: sorted(container.cancelling), HEARTBEAT_SECONDS - 0.3)
        return pb.ContainerHeartbeatResponse(cancel_input_event=pb.CancelInputEvent(input_ids=ids) if ids else None)

    async def container_checkpoint(self, request, container):
        return Empty()

    async def container_stop(self, request, container):
        for pool in self.pools.values():
            for holder in pool.containers:
                if holder.id == request.task_id:
                    self.retire(holder)
                    if not request.graceful:
                        self.signal_container(holder, kill=True)
        return pb.ContainerStopResponse()

    async def task_result(self, request, container):
        if not container.ready:  # later ones come from @exit methods and hurt no input
            container.startup_failure = request.result
        return Empty()

    async def function_get_dynamic_concurrency(self, request, container):
        return pb.FunctionGetDynamicConcurrencyResponse(concurrency=request.target_concurrency)

    async def function_get_inputs(self, request, container):
        container.ready = True
        container.bell.ring()
        pool = self.pool(container.function_id)
        idle = self.idle_seconds(container)

        def following() -> Input | bool:
            if container.retired or container.gone:  # a dead one's last call may still wait, and must take nothing
                return True
            return pool.pending.popleft() if pool.pending else False

        found = await pool.bell.until(following, idle)
        if container.gone:
            return KILL_SWITCH
        if not isinstance(found, Input):
            minimum = container.function.autoscaler_settings.min_containers
            if not container.retired and (container.running or len(pool.live) <= minimum):
                return pb.FunctionGetInputsResponse()
            self.retire(container)
            return KILL_SWITCH
        container.running[found.id] = found
        container.inputs_taken += 1
        container.last_input_began = time.monotonic()
        if limit := container.function.timeout_secs:
            found.timer = asyncio.get_running_loop().call_later(limit, self.time_out, container, found, limit)
        item = pb.FunctionGetInputsItem(
            input_id=found.id,
            input=found.message,
            function_call_id=found.call.id,
            function_call_invocation_type=found.call.invocation_type,
            retry_count=found.attempt,
            function_map_idx=found.index,
        )
        return pb.FunctionGetInputsResponse(inputs=[item])

    async def function_put_outputs(self, request, container):
        for output in request.outputs:
            if self.hold is not None:
                await self.hold.let_through(container, output.input_id)
            item = container.running.pop(output.input_id, None)
            container.cancelling.discard(output.input_id)
            if item is not None and item.attempt == output.retry_count:
                self._take_output(container, item, output)
        return Empty()

    async def function_call_put_data_out(self, request, container):
        call = self._call(request)
        for chunk in request.data_chunks:  # a second attempt yields the first ones again
            call.chunks.setdefault(chunk.index, chunk)
        call.bell.ring()
        return Empty()

    # -- shared with the scheduling -----------------------------------------------------------------------------------

    def settle(self, item: Input, result: pb.GenericResult, data_format: int = pb.DATA_FORMAT_UNSPECIFIED) -> None:
        """Give the input its one output."""
        if item.timer is not None:
            item.timer.cancel()
        if item.output is None:
            item.output = pb.FunctionGetOutputsItem(
                result=result, idx=item.index, input_id=item.id, data_format=data_format
            )
            item.call.outputs.append(item.output)
            item.call.bell.ring()

    def reschedule(self, item: Input) -> None:
        """Put the input back, before those that have never run."""
        if item.timer is not None:
            item.timer.cancel()
        item.attempt += 1
        pool = self.pool(item.call.function_id)
        pool.pending.appendleft(item)
        pool.bell.ring()

    # -- private ------------------------------------------------------------------------------------------------------

    def _call(self, request) -> Call:
        if request.function_call_id not in self.function_calls:
            raise GRPCError(Status.NOT_FOUND, f"no function call {request.function_call_id}")
        return self.function_calls[request.function_call_id]

    def _enqueue(self, call: Call, items) -> list[pb.FunctionPutInputsResponseItem]:
        pool = self.pool(call.function_id)
        accepted = []
        for new in items:
            item = Input(self.new_id("in"), call, new.idx, new.input)
            call.inputs.append(item)
            pool.pending.append(item)
            self.last_inputs.append(self._payload(call.function_id, new.input.args, new.input.args_blob_id))
            accepted.append(pb.FunctionPutInputsResponseItem(idx=new.idx, input_id=item.id, input_jwt=item.id))
        pool.bell.ring()
        self.scale(call.function_id)
        return accepted

    def _take_output(self, container: Container, item: Input, output: pb.FunctionPutOutputsItem) -> None:
        container.last_input_ended_at = output.output_created_at
        result, limit = output.result, self.refuse_result_bytes
        self.last_outputs.append(self._payload(item.call.function_id, result.data, result.data_blob_id))
        policy = container.function.retry_policy
        if result.status == pb.GenericResult.GENERIC_STATUS_FAILURE and item.failures < policy.retries:
            item.failures += 1
            delay = policy.initial_delay_ms / 1000 * max(policy.backoff_coefficient, 1) ** (item.failures - 1)
            asyncio.get_running_loop().call_later(delay, self.reschedule, item)
        elif limit is not None and len(result.data) > limit:
            message = f"{len(result.data)} bytes exceed the limit of {limit}"
            refused = _failure(pb.GenericResult.GENERIC_STATUS_FAILURE, message)
            refused.data = serialize(ResourceExhaustedError(message))
            self.settle(item, refused, pb.DATA_FORMAT_PICKLE)
        else:
            self.settle(item, result, output.data_format)

    def time_out(self, container: Container, item: Input, limit: int) -> None:
        """End an input, and its container, since its time is over."""
        message = f"Task's current input hit its timeout of {limit}s"
        self.settle(item, _failure(pb.GenericResult.GENERIC_STATUS_TIMEOUT, message))
        self.retire(container)
        self.signal_container(container, kill=True)

    def _payload(self, function_id: str, data: bytes, blob_id: str) -> Payload:
        name = self.definition(function_id).function_name
        return Payload(name, self.blobs[blob_id] if blob_id else data, bool(blob_id))


def _failure(status: int, message: str) -> pb.GenericResult:
    return pb.GenericResult(status=status, exception=message)
