"""Every error a person can cause or meet, as one tree; it knows nothing of frameworks.

A message says what was wrong, what was got and what was expected; `hint` says what to do next.

    VisualizerError
    ├── NotFoundError               no route of that name and method
    ├── NotAuthenticatedError       no user name and password where the server asks for them
    ├── ForeignOriginError          a browser asks in another page's name, or for a name that is not this server's
    ├── InputError                  the request itself
    │   ├── ImageError              … its image
    │   │   ├── NotAnImageError         bytes that are no image, or a truncated one
    │   │   ├── ImageTooLargeError      too many bytes, pixels or image tokens
    │   │   ├── ImageTooThinError       more than 200 : 1
    │   │   └── ImageStructureError     takes too many parts, too much time or memory to decode
    │   ├── PromptError             … its words (empty, too long)
    │   ├── SelectionError          … a layer, head, token, view or option that does not exist
    │   │   └── NotRecordedError        … exists, but a replay must record it first
    │   └── BodyError               … its body over HTTP
    │       ├── BadBodyError            cannot be read as what it says it is
    │       └── BodyTooLargeError       has more bytes than a largest image needs
    ├── AdapterError
    │   ├── UnknownAdapterError         no adapter of that name
    │   └── AdapterRefusedError         its files, its kind or its fit with the base model
    ├── ModelError
    │   ├── ModelLoadError              folder or id that cannot be loaded
    │   └── UnsupportedModelError       not a Qwen3-VL checkpoint
    ├── CaptureError                our own reading of the attention failed: never drawn, always said
    ├── OutOfMemoryError            the device had no room for this request
    ├── StorageError                the server's disk had no room for it
    ├── BackendError                the engine cannot be reached
    │   ├── CredentialsError            … for want of a token that Modal takes
    │   ├── NotDeployedError            … because nobody deployed it
    │   ├── VersionMismatchError        … because another version of this package is deployed
    │   ├── UnreachableError            … because Modal does not answer
    │   ├── CrashedError                its container died, again and again
    │   ├── ResultSizeError             its result is too large to travel
    │   └── DeadlineError               … in time
    │       └── NoGpuError              no GPU was to be had in time
    ├── BusyError                   too many requests
    ├── CancelledError              the person pressed Stop
    └── UnexpectedError             our own bug: the log has its traceback, the person a sentence
"""

from typing import ClassVar


class VisualizerError(Exception):
    """The root of the tree.

    Args:
        message: what was wrong, what was got, what was expected.
        hint: what to do next; may be empty.

    Attributes:
        code: a stable snake_case name for programs.
        status: the HTTP status that the routes answer with.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)  # both in `args`, so the error survives pickling across processes
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class NotFoundError(VisualizerError):
    """No route of that name and method."""

    code = "not_found"
    status = 404


class NotAuthenticatedError(VisualizerError):
    """No user name and password, or wrong ones, where the server asks for them."""

    code = "not_authenticated"
    status = 401


class ForeignOriginError(VisualizerError):
    """The request is of another server's page, or asks for a name that is not this server's."""

    code = "foreign_origin"
    status = 403


class InputError(VisualizerError):
    """The request cannot be answered as it stands."""

    code = "invalid_input"
    status = 422


class ImageError(InputError):
    """The image of the request cannot be used."""

    code = "invalid_image"


class NotAnImageError(ImageError):
    """The bytes are not an image that can be read to its end."""

    code = "not_an_image"
    status = 415


class ImageTooLargeError(ImageError):
    """The image has more bytes, pixels or image tokens than the limit."""

    code = "image_too_large"
    status = 413


class ImageTooThinError(ImageError):
    """One side is more than 200 times the other: Qwen's image processor refuses it."""

    code = "image_too_thin"


class ImageStructureError(ImageError):
    """The file makes a decoder do more than a photo is worth: too many parts, too long, too much memory."""

    code = "image_structure"


class PromptError(InputError):
    """The prompt is empty, too long, no conversation, or none that the checkpoint's chat template can show."""

    code = "invalid_prompt"


class SelectionError(InputError):
    """A layer, head, token, view or option that this result or model does not have."""

    code = "invalid_selection"


class NotRecordedError(SelectionError):
    """A single head of a token whose heads were not recorded: a replay would record them."""

    code = "not_recorded"
    status = 409


class BodyError(InputError):
    """The body of an HTTP request cannot be taken."""

    code = "bad_request"
    status = 400


class BadBodyError(BodyError):
    """The body cannot be read as what it says it is."""


class BodyTooLargeError(BodyError):
    """The body has more bytes than a request with the largest image needs."""

    code = "image_too_large"
    status = 413


class AdapterError(VisualizerError):
    """Something about a LoRA adapter."""

    code = "adapter_error"
    status = 422


class UnknownAdapterError(AdapterError):
    """No adapter of that name is offered."""

    code = "unknown_adapter"
    status = 404


class AdapterRefusedError(AdapterError):
    """The adapter's files, kind or fit with the base model would make the picture untrue."""

    code = "adapter_refused"


class ModelError(VisualizerError):
    """Something about the base model."""

    code = "model_error"
    status = 503


class ModelLoadError(ModelError):
    """The base model's folder or Hub id cannot be loaded."""

    code = "model_load_failed"


class UnsupportedModelError(ModelError):
    """The checkpoint is not of the Qwen3-VL family."""

    code = "unsupported_model"
    status = 422


class CaptureError(VisualizerError):
    """The attention that was read is incomplete, has the wrong shape or is not finite."""

    code = "capture_failed"
    status = 500


class OutOfMemoryError(VisualizerError):
    """The device had no room for this request."""

    code = "out_of_memory"
    status = 503


class StorageError(VisualizerError):
    """Nothing (more) can be written where this request needs it."""

    code = "no_storage"
    status = 503


class BackendError(VisualizerError):
    """The engine cannot be reached."""

    code = "backend_unavailable"
    status = 503


class CredentialsError(BackendError):
    """There is no token for Modal, or Modal does not take it."""

    code = "backend_credentials"


class NotDeployedError(BackendError):
    """The class is not deployed on Modal."""

    code = "backend_not_deployed"


class VersionMismatchError(BackendError):
    """What is deployed on Modal is another version of this package than this process."""

    code = "backend_version"


class UnreachableError(BackendError):
    """Modal does not answer."""

    code = "backend_unreachable"


class CrashedError(BackendError):
    """The container that did the work died, and so did those that were started in its place."""

    code = "backend_crashed"


class ResultSizeError(BackendError):
    """The request or its result has more bytes than may travel."""

    code = "result_too_large"
    status = 413


class DeadlineError(BackendError):
    """The engine did not answer in time."""

    code = "deadline_exceeded"
    status = 504


class NoGpuError(DeadlineError):
    """No GPU was to be had in time."""

    code = "no_gpu"


class BusyError(VisualizerError):
    """Too many requests at once.

    Args:
        message, hint: see `VisualizerError`.
        after: seconds after which another try may succeed.
    """

    code = "too_many_requests"
    status = 429

    def __init__(self, message: str, hint: str = "", after: float = 60.0) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, after)
        self.after = after


class CancelledError(VisualizerError):
    """The person pressed Stop; nothing is wrong."""

    code = "cancelled"
    status = 503


class UnexpectedError(VisualizerError):
    """Something that is our bug: the log has its traceback, the person a sentence."""

    code = "internal_error"

    def __init__(
        self,
        message: str = "Something went wrong inside the tool.",
        hint: str = "The operator's log says what; try again.",
    ) -> None:
        super().__init__(message, hint)
