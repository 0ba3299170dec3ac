"""The sentence for each way in which a cloud can fail; it makes no call.

Nothing of Modal's own words, which may hold a token, reaches a person. What the page says:

| what happened | sentence |
|---|---|
| no token · a wrong one | There is no Modal token here. Run modal setup, … · Modal does not take this token. … |
| not deployed | The app '…' is not deployed on Modal. Deploy it: … |
| another version | On Modal runs version 0.1.0 of this tool, here 0.2.0. Deploy again: … |
| Modal is unreachable (5 s) | Modal does not answer. Check the network and status.modal.com, and try again. |
| no GPU in time | No GPU (H100, A100-80GB, L40S) was ready within 420 s. Try again later, or … |
| model missing or gated | The model '…' could not be loaded (OSError). Check the folder or id, … HF_TOKEN; … |
| out of memory | The device ran out of memory for this request. Reduce the image (max_image_tokens), … |
| too long | The analysis took longer than 600 s and was ended. Reduce the image, … |
| a bug of ours over there | Something went wrong inside the engine (KeyError). The operator's … |
| machine taken away | the GPU machine was taken away; another one begins anew (attempt 2) – and the answer comes |
| crashing again and again | 3 GPU containers died over this analysis, one after another. … |
| result too large | The result has … bytes; at most … may travel. Reduce the image, … |
| cancelled on Modal | The analysis was cancelled on Modal. Try again. |
| app stopped | Modal ended the analysis before it was finished: the app was stopped, or … |

What the engine itself refuses arrives as what it is: its sentences are the engine's.
"""

import logging
from collections.abc import Sequence

import modal.exception
from modal.config import config
from packaging.version import InvalidVersion, Version

from inference.errors import (
    BackendError,
    CancelledError,
    CrashedError,
    CredentialsError,
    DeadlineError,
    NoGpuError,
    NotDeployedError,
    ResultSizeError,
    UnreachableError,
    VersionMismatchError,
    VisualizerError,
)
from inference.settings import Cloud
from inference.version import VERSION

_log = logging.getLogger(__name__)


def translated(error: BaseException, cloud: Cloud, timeout: int | None = None) -> VisualizerError:
    """What a person reads of a failure of Modal.

    Args:
        error: what was thrown; a member of the error tree stays what it is.
        cloud: whose app it was.
        timeout: the deployment's time limit in seconds, where it is known.
    """
    known = modal.exception
    if isinstance(error, VisualizerError):
        return error
    if isinstance(error, known.AuthError):
        return _no_token()
    if isinstance(error, known.PermissionDeniedError):
        return CredentialsError("This Modal token may not use the app.", "Use a token of the workspace that deployed.")
    if isinstance(error, known.NotFoundError):
        return NotDeployedError(
            f"The app {cloud.modal_app!r} is not deployed on Modal.", "Deploy it: modal deploy -m inference.remote."
        )
    if isinstance(error, known.RequestSizeError | known.ResourceExhaustedError):
        return ResultSizeError(
            "Modal refused the request or its result: it is too large, or a limit of the account is reached.",
            "Reduce the image, the number of adapters or the answer's length.",
        )
    if isinstance(error, known.FunctionTimeoutError):
        return too_long(timeout)
    if isinstance(error, known.VersionError):
        return BackendError("Modal no longer takes this version of its client.", "Update the package modal.")
    if isinstance(error, known.InternalFailure | known.RemoteError):
        return _ended(error, cloud)
    if isinstance(error, known.InternalError | known.ConflictError | known.ClientClosed | known.DataLossError):
        return UnreachableError("Modal has a fault of its own.", "Look at status.modal.com, and try again.")
    if isinstance(error, known.ConnectionError | known.ServiceError | TimeoutError | known.TimeoutError | OSError):
        return UnreachableError("Modal does not answer.", "Check the network and status.modal.com, and try again.")
    _log.error("unexpected failure on Modal", exc_info=error)
    why = look_into_the_log(cloud)
    return CrashedError(f"The engine failed on Modal ({type(error).__name__}).", why[:1].upper() + why[1:])


def _no_token() -> CredentialsError:
    if config.get("token_id") and config.get("token_secret"):
        return CredentialsError("Modal does not take this token.", "Run modal setup again, or check both variables.")
    return CredentialsError(
        "There is no Modal token here.",
        "Run modal setup, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET; or use --backend local.",
    )


def _ended(error: BaseException, cloud: Cloud) -> VisualizerError:
    """The work ended over there, for a reason that is none of ours."""
    if isinstance(error, modal.exception.InternalFailure):
        return CrashedError("The GPU container died over this analysis.", "Try again; " + look_into_the_log(cloud))
    if "cancel" in str(error).lower():
        return CancelledError("The analysis was cancelled on Modal.", "Try again.")
    return CrashedError(
        "Modal ended the analysis before it was finished: the app was stopped, or its machine ran out of memory.",
        "Try again; " + look_into_the_log(cloud),
    )


def check_version(deployed: object) -> None:
    """Compare what is deployed with this process.

    Raises:
        VersionMismatchError: they differ; it says which to redeploy.
    """
    if deployed == VERSION:
        return
    raise VersionMismatchError(
        f"On Modal runs version {str(deployed)[:40]} of this tool, here {VERSION}.",
        "Update this app, and start it again."
        if _is_newer(str(deployed))
        else "Deploy again: modal deploy -m inference.remote.",
    )


def _is_newer(deployed: str) -> bool:
    try:
        return Version(deployed) > Version(VERSION)
    except InvalidVersion:
        return False


def no_gpu(cloud: Cloud, gpus: Sequence[str]) -> NoGpuError:
    """No container of these kinds of GPU was there in time."""
    return NoGpuError(
        f"No GPU ({', '.join(gpus)}) was ready within {cloud.modal_start_seconds:.0f} s.",
        "Try again later, or let the operator name more GPU types; if it stays so, " + look_into_the_log(cloud),
    )


def too_long(seconds: int | None) -> DeadlineError:
    """A container had its time; None where nobody knows how much that was."""
    limit = "Modal's time limit" if seconds is None else f"{seconds} s"
    return DeadlineError(
        f"The analysis took longer than {limit} and was ended.",
        "Reduce the image, the number of adapters or the answer's length.",
    )


def died_again(cloud: Cloud) -> CrashedError:
    """One container after another died over the same request."""
    return CrashedError(
        f"{cloud.modal_attempts} GPU containers died over this analysis, one after another.",
        "Try a smaller image; " + look_into_the_log(cloud),
    )


def look_into_the_log(cloud: Cloud) -> str:
    """Where the operator finds the reason."""
    return f"the operator's modal app logs {cloud.modal_app} says why."
