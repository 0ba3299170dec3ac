"""Deploying: apps, images, mounts, secrets and function definitions."""

import time

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal._serialization import serialize
from modal_proto import api_pb2 as pb

from .records import App, FunctionDefinition

SUCCESS = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS)
NO_PARAMETERS = serialize(((), {}))  # what the client binds for a class without parameters


class Apps:
    """The RPCs of `modal deploy`, `modal run` and the look-ups by name."""

    def __init__(self) -> None:
        super().__init__()
        self.apps: dict[str, App] = {}
        self.functions: dict[str, pb.Function] = {}  # by id, as published
        self.function_data: dict[str, pb.FunctionData] = {}  # only where several GPU types were asked for
        self.app_of: dict[str, App] = {}  # function id -> app
        self.bound: dict[str, pb.FunctionBindParamsRequest] = {}  # id of a class with parameters or options
        self.images: dict[str, pb.Image] = {}
        self.mounts: dict[str, list[pb.MountFile]] = {}
        self.mount_files: dict[str, bytes] = {}  # by sha256
        self.secret_values: dict[str, dict[str, str]] = {}  # by id
        self.names: dict[tuple[str, str | bytes], str] = {}  # (kind, name or content) -> id
        self._staged: dict[str, tuple[pb.Function, pb.FunctionData | None]] = {}  # created, not yet published
        self._ids = 0

    def new_id(self, kind: str) -> str:
        self._ids += 1
        return f"{kind}-{self._ids}"

    def named_id(self, kind: str, request) -> str:
        """The id of a named object, made or refused as the request's creation type says."""
        key = (kind, request.deployment_name)
        creation = request.object_creation_type
        if creation in (pb.OBJECT_CREATION_TYPE_EPHEMERAL, pb.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP):
            return self.new_id(kind)
        if key in self.names and creation == pb.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise GRPCError(Status.ALREADY_EXISTS, f"'{request.deployment_name}' already exists")
        if key not in self.names:
            if creation == pb.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise GRPCError(Status.NOT_FOUND, f"'{request.deployment_name}' not found in environment 'main'")
            self.names[key] = self.new_id(kind)
        return self.names[key]

    def definition(self, function_id: str) -> pb.Function:
        """The function's definition now, with the options it was bound with."""
        bound = self.bound.get(function_id)
        function = pb.Function()
        function.CopyFrom(self.functions[bound.function_id if bound else function_id])
        if bound and bound.HasField("function_options"):
            options = bound.function_options
            for name in ("resources", "retry_policy"):
                if options.HasField(name):
                    getattr(function, name).CopyFrom(getattr(options, name))
            for name in ("timeout_secs", "max_concurrent_inputs"):
                if options.HasField(name):
                    setattr(function, name, getattr(options, name))
            for option, setting in (
                ("concurrency_limit", "max_containers"),
                ("warm_pool_size", "min_containers"),
                ("task_idle_timeout_secs", "scaledown_window"),
            ):
                if options.HasField(option):
                    setattr(function.autoscaler_settings, setting, getattr(options, option))
            if options.replace_secret_ids:
                del function.secret_ids[:]
            function.secret_ids.extend(options.secret_ids)
            if options.replace_volume_mounts:
                del function.volume_mounts[:]
            function.volume_mounts.extend(options.volume_mounts)
        return function

    def image_layers(self, image_id: str) -> list[pb.Image]:
        """The image's layers, the base first."""
        layers: list[pb.Image] = []
        while image := self.images.get(image_id):
            layers.insert(0, image)
            image_id = image.base_images[0].image_id if image.base_images else ""
        return layers

    def layout(self, app: App) -> pb.AppLayout:
        """Everything a container must know of its app to turn ids into live objects."""
        objects = {}
        for function_id in app.function_ids.values():
            function = self._latest(function_id)
            metadata = self._handle_metadata(function_id, function)
            objects[function_id] = pb.Object(object_id=function_id, function_handle_metadata=metadata)
            for dependency in function.object_dependencies:
                id_ = dependency.object_id
                volume = pb.VolumeMetadata(version=pb.VOLUME_FS_VERSION_V1) if id_.startswith("vo-") else None
                objects[id_] = pb.Object(object_id=id_, volume_metadata=volume)
        for class_id in app.class_ids.values():
            objects[class_id] = pb.Object(object_id=class_id, class_handle_metadata=pb.ClassHandleMetadata())
        return pb.AppLayout(function_ids=app.function_ids, class_ids=app.class_ids, objects=objects.values())

    def describe(self, function_id: str) -> FunctionDefinition:
        function = self.functions[function_id]
        ranked = self.function_data[function_id].ranked_functions if function_id in self.function_data else []
        configs = [item.function.resources.gpu_config for item in ranked] or [function.resources.gpu_config]
        names = {id_: name for (_, name), id_ in self.names.items() if isinstance(name, str)}
        settings = function.autoscaler_settings
        return FunctionDefinition(
            name=function.function_name,
            app=self.app_of[function_id].name,
            gpus=[f"{gpu.gpu_type}:{gpu.count}" if gpu.count > 1 else gpu.gpu_type for gpu in configs if gpu.gpu_type],
            timeout=function.timeout_secs,
            startup_timeout=function.startup_timeout_secs,
            scaledown_window=settings.scaledown_window,
            min_containers=settings.min_containers,
            max_containers=settings.max_containers,
            memory_snapshot=function.checkpointing_enabled,
            experimental_options=dict(function.experimental_options),
            volumes={mount.mount_path: names.get(mount.volume_id, "") for mount in function.volume_mounts},
            secrets=[names.get(id_, "") for id_ in function.secret_ids],
            methods=sorted(function.method_definitions),
            image_commands=[
                line for layer in self.image_layers(function.image_id) for line in layer.dockerfile_commands
            ],
            message=function,
        )

    # -- session ------------------------------------------------------------------------------------------------------

    async def client_hello(self, request, container):
        return pb.ClientHelloResponse()

    async def auth_token_get(self, request, container):
        return pb.AuthTokenGetResponse(token="e30.e30.e30")

    async def environment_get_or_create(self, request, container):
        settings = pb.EnvironmentSettings(image_builder_version="2025.06")
        metadata = pb.EnvironmentMetadata(name=request.deployment_name or "main", settings=settings)
        return pb.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    # -- apps ---------------------------------------------------------------------------------------------------------

    async def app_create(self, request, container):
        app = App(self.new_id("ap"), request.description, request.app_state)
        self.apps[app.id] = app
        return pb.AppCreateResponse(app_id=app.id, app_page_url=f"http://stand-in/{app.id}")

    async def app_get_by_deployment_name(self, request, container):
        app = self._deployed(request.name)
        lifecycle = pb.AppLifecycle(app_state=pb.APP_STATE_DEPLOYED) if app else None
        return pb.AppGetByDeploymentNameResponse(
            app_id=app.id if app else "", environment_name="main", lifecycle=lifecycle
        )

    async def app_get_layout(self, request, container):
        return pb.AppGetLayoutResponse(app_layout=self.layout(self.apps[request.app_id]))

    async def app_heartbeat(self, request, container):
        return Empty()

    async def app_publish(self, request, container):
        """Make what was created the app's current version: old containers end after the input they run."""
        app = self.apps[request.app_id]
        app.name, app.state = request.name or app.name, request.app_state
        old = set(app.function_ids.values())
        app.function_ids, app.class_ids = dict(request.function_ids), dict(request.class_ids)
        for function_id in app.function_ids.values():
            if function_id in self._staged:
                self.functions[function_id], data = self._staged.pop(function_id)
                self.function_data.pop(function_id, None)
                if data is not None:
                    self.function_data[function_id] = data
        self.retire_app(app)
        for function_id in old | set(app.function_ids.values()):
            if not self.functions[function_id].class_parameter_info.schema:
                self.scale(function_id)
        return pb.AppPublishResponse(url=f"http://stand-in/{app.name}", deployed_at=time.time())

    async def app_client_disconnect(self, request, container):
        app = self.apps[request.app_id]
        if app.state == pb.APP_STATE_EPHEMERAL:
            self.stop_app(app)
        return Empty()

    async def app_stop(self, request, container):
        self.stop_app(self.apps[request.app_id])
        return Empty()

    async def app_get_logs(self, request, container):
        app = self.apps[request.app_id]
        sent = int(request.last_entry_id or 0)

        def more() -> bool:
            return len(app.log) > sent or app.log_complete

        while await app.bell.until(more, request.timeout):
            if sent == len(app.log):
                yield pb.TaskLogsBatch(app_done=True)
                return
            yield app.log[sent]
            sent += 1

    async def task_list(self, request, container):
        containers = [c for pool in self.pools.values() for c in pool.containers if not c.gone]
        tasks = [
            pb.TaskStats(task_id=c.id, app_id=c.app.id, started_at=c.started_at, enqueued_at=c.started_at)
            for c in containers
            if not request.app_id or c.app.id == request.app_id
        ]
        return pb.TaskListResponse(tasks=tasks)

    # -- what a function is made of -----------------------------------------------------------------------------------

    async def mount_batched_check_existence(self, request, container):
        missing = [sha for sha in request.sha256_hex_hashes if sha not in self.mount_files]
        return pb.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def mount_put_file(self, request, container):
        if request.WhichOneof("data_oneof"):
            data = self.blobs[request.data_blob_id] if request.data_blob_id else request.data
            self.mount_files[request.sha256_hex] = data
        return pb.MountPutFileResponse(exists=request.sha256_hex in self.mount_files)

    async def mount_get_or_create(self, request, container):
        mount_id = self.new_id("mo")
        self.mounts[mount_id] = list(request.files)
        metadata = pb.MountHandleMetadata(content_checksum_sha256_hex="0")
        return pb.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=metadata)

    async def image_get_or_create(self, request, container):
        content = request.image.SerializeToString(deterministic=True)
        image_id = self.names.setdefault(("im", content), self.new_id("im"))
        self.images[image_id] = request.image
        metadata = pb.ImageMetadata(image_builder_version=request.builder_version)
        return pb.ImageGetOrCreateResponse(image_id=image_id, result=SUCCESS, metadata=metadata)

    async def secret_get_or_create(self, request, container):
        secret_id = self.named_id("st", request)
        values = self.secret_values.setdefault(secret_id, {})
        values.update(request.env_dict)
        if missing := sorted(set(request.required_keys) - set(values)):
            raise GRPCError(Status.NOT_FOUND, f"Secret '{request.deployment_name}' is missing key(s) {missing}")
        metadata = pb.SecretMetadata(name=request.deployment_name)
        return pb.SecretGetOrCreateResponse(secret_id=secret_id, metadata=metadata)

    # -- functions and classes ----------------------------------------------------------------------------------------

    async def function_precreate(self, request, container):
        function_id = request.existing_function_id or self.new_id("fu")
        self.app_of[function_id] = self.apps[request.app_id]
        names = ("function_name", "function_type", "method_definitions", "function_schema")
        formats = ("supported_input_formats", "supported_output_formats")
        function = pb.Function(**{name: getattr(request, name) for name in (*names, *formats)})
        metadata = self._handle_metadata(function_id, function)
        return pb.FunctionPrecreateResponse(function_id=function_id, handle_metadata=metadata)

    async def function_create(self, request, container):
        function_id = request.existing_function_id or self.new_id("fu")
        data = request.function_data if request.HasField("function_data") else None
        function = data.ranked_functions[0].function if data else request.function
        self.app_of[function_id] = self.apps[request.app_id]
        self._staged[function_id] = (function, data)
        return pb.FunctionCreateResponse(
            function_id=function_id,
            function=function,
            function_data=data or self._as_data(function),
            handle_metadata=self._handle_metadata(function_id, function),
        )

    async def class_create(self, request, container):
        class_id = request.existing_class_id or self.new_id("cs")
        return pb.ClassCreateResponse(class_id=class_id, handle_metadata=pb.ClassHandleMetadata())

    async def class_get(self, request, container):
        class_id = self._lookup(request.app_name).class_ids.get(request.object_tag)
        if class_id is None:
            raise GRPCError(Status.NOT_FOUND, f"App '{request.app_name}' has no class '{request.object_tag}'")
        return pb.ClassGetResponse(class_id=class_id, handle_metadata=pb.ClassHandleMetadata())

    async def function_get(self, request, container):
        function_id = self._lookup(request.app_name).function_ids.get(request.object_tag)
        if function_id is None:
            raise GRPCError(Status.NOT_FOUND, f"App '{request.app_name}' has no function '{request.object_tag}'")
        function = self.functions[function_id]
        return pb.FunctionGetResponse(
            function_id=function_id,
            function=self.function_data.get(function_id) or self._as_data(function),
            handle_metadata=self._handle_metadata(function_id, function),
        )

    async def function_bind_params(self, request, container):
        options = request.function_options.SerializeToString()
        if request.serialized_params in (b"", NO_PARAMETERS) and not options:
            function_id = request.function_id
        else:
            function_id = self.names.setdefault(
                ("bound", request.SerializeToString(deterministic=True)), self.new_id("fu")
            )
            self.bound[function_id] = request
            self.app_of[function_id] = self.app_of[request.function_id]
        metadata = self._handle_metadata(function_id, self.functions[request.function_id])
        return pb.FunctionBindParamsResponse(bound_function_id=function_id, handle_metadata=metadata)

    # -- private ------------------------------------------------------------------------------------------------------

    def _deployed(self, name: str) -> App | None:
        running = [app for app in self.apps.values() if app.state == pb.APP_STATE_DEPLOYED and not app.stopped]
        return next((app for app in running if app.name == name), None)

    def _lookup(self, app_name: str) -> App:
        app = self._deployed(app_name)
        if app is None:
            raise GRPCError(Status.NOT_FOUND, f"App '{app_name}' not found in environment 'main'")
        return app

    def _latest(self, function_id: str) -> pb.Function:
        return self.functions[function_id] if function_id in self.functions else self._staged[function_id][0]

    def _as_data(self, function: pb.Function) -> pb.FunctionData:
        ranked = [pb.FunctionData.RankedFunction(rank=0, function=function)]
        return pb.FunctionData(function_name=function.function_name, ranked_functions=ranked)

    def _handle_metadata(self, function_id: str, function: pb.Function) -> pb.FunctionHandleMetadata:
        app_id = self.app_of[function_id].id

        def metadata(source: pb.Function | pb.MethodDefinition, **more) -> pb.FunctionHandleMetadata:
            return pb.FunctionHandleMetadata(
                function_name=source.function_name,
                function_type=source.function_type,
                function_schema=source.function_schema,
                supported_input_formats=source.supported_input_formats,
                supported_output_formats=source.supported_output_formats,
                app_id=app_id,
                **more,
            )

        return metadata(
            function,
            is_method=function.is_method,
            class_parameter_info=function.class_parameter_info,
            definition_id=f"de-{function_id}",
            method_handle_metadata={
                name: metadata(method, is_method=True, use_method_name=name)
                for name, method in function.method_definitions.items()
            },
        )
