"""A local stand-in for Modal's control plane, for modal 1.6.4 exactly.

The real client, the real command line and the real container entry point talk to it:

    with run_in_thread(scaledown_window=2) as cloud:
        subprocess.run([sys.executable, "-m", "modal", "deploy", "-m", "my_app"], env=os.environ | cloud.client_env())
        with modal.Client(cloud.url, 1, cloud.token) as client:
            modal.Function.from_name("my-app", "work", client=client).remote(3)

Every container is a process that sees the app's mounted files, its image's ENV lines and its secrets, and neither the
client's environment nor this repository. Only paths below `cloud.mount_root` are the same inside and outside: a test
deploys an app whose mount paths lie there. There is no image build, no GPU and no second machine.
"""

from .cloud import StandIn, run_in_thread, unreachable_env
from .records import ContainerInfo, FunctionDefinition, Payload

__all__ = ["ContainerInfo", "FunctionDefinition", "Payload", "StandIn", "run_in_thread", "unreachable_env"]
