"""What is installed, by name, version and digest: the locks, the bill of materials, the advisories.

    python -m tests.supply lock     # writes inference/cloud/locks/*.txt (needs uv and a registry)
    python -m tests.supply sbom     # prints a CycloneDX 1.6 bill of materials of the page
    python -m tests.supply audit    # asks pip-audit for known advisories on every lock (needs its database)

`pip install -e ".[supply]"` brings the two tools. pyproject.toml says which versions are wanted; a lock says which they
are, of every package down to the last, with the SHA-256 of each file that may be installed. A lock is read by
`pip install --require-hashes -r LOCK`, Modal's image (`inference/cloud/image.py`), `python -m tests.spaces --locked`.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from inference.cloud.image import requirements
from inference.demo import WEIGHTS_DIR
from inference.version import VERSION
from tests import ROOT

LOCKS = ROOT / "inference" / "cloud" / "locks"
#: Where what is locked runs: Python's version and the platform, as uv names it. A Space and Modal's image are both.
PYTHON, PLATFORM = "3.11", "x86_64-manylinux_2_28"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)", re.MULTILINE)
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def space_gradio() -> str:
    """The Gradio that a Space installs beside the list, by the front matter of README.md."""
    sdk = re.search(r"^sdk_version: (\S+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sdk is not None
    return f"gradio[oauth,mcp]=={sdk[1]}"


def wanted() -> dict[str, list[str]]:
    """What each lock is made of, by its name."""
    whole, light = ((ROOT / f"requirements{kind}.txt").read_text(encoding="utf-8").split() for kind in ("", "-modal"))
    return {
        "page": [*whole, space_gradio()],
        "page-over-modal": [*light, space_gradio()],
        "container": requirements(),
    }


def pins(lock: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Version and digests of every package of a lock's text, by canonical name."""
    return {
        canonicalize_name(name): (version, tuple(_DIGEST.findall(digests)))
        for name, version, digests in _PIN.findall(lock)
    }


def read(name: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The pins of a lock."""
    return pins((LOCKS / f"{name}.txt").read_text(encoding="utf-8"))


def unmet(name: str) -> Iterator[str]:
    """What of pyproject.toml's pins a lock does not hold, or holds in another version."""
    locked = read(name)
    for line in wanted()[name]:
        requirement = Requirement(line)
        version, digests = locked.get(canonicalize_name(requirement.name), ("", ()))
        if not (digests and requirement.specifier.contains(version, prereleases=True)):
            yield f"{line}: locked is {version or 'none'}"


def lock() -> int:
    """Write every lock; a version that is locked already is kept where it still fits."""
    LOCKS.mkdir(exist_ok=True)
    for name, lines in wanted().items():
        with tempfile.NamedTemporaryFile("w", suffix=".in") as given:
            given.write("\n".join(lines))
            given.flush()
            command = ["uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-annotate", "--no-header"]
            command += ["--python-version", PYTHON, "--python-platform", PLATFORM]
            subprocess.run([*command, given.name, "--output-file", LOCKS / f"{name}.txt"], check=True)
        print(f"{name}: {len(read(name))} packages")
    return 0


def sbom() -> dict[str, Any]:
    """The page's packages as they are locked, and the embedded weights, as a CycloneDX 1.6 document.

    A licence is what the package's own metadata says, where that version is installed here.
    """
    parts = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            **_licence(name, version),
        }
        for name, (version, _) in sorted(read("page").items())
    ]
    weights = [
        {
            "type": "machine-learning-model",
            "bom-ref": f"weights/{path.relative_to(WEIGHTS_DIR).as_posix()}",
            "name": path.relative_to(WEIGHTS_DIR).as_posix(),
            "version": VERSION,
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}],
        }
        for path in sorted(WEIGHTS_DIR.rglob("*.safetensors"))
    ]
    own = {"type": "application", "bom-ref": "own", "name": "lora-attention-visualizer", "version": VERSION}
    content = json.dumps([parts, weights], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",  # equal parts, equal number
        "version": 1,
        "metadata": {"component": own | {"licenses": [{"license": {"id": "Apache-2.0"}}]}},
        "components": [*parts, *weights],
        "dependencies": [{"ref": "own", "dependsOn": [each["bom-ref"] for each in (*parts, *weights)]}],
    }


def _licence(name: str, version: str) -> dict[str, Any]:
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return {}
    expression = said.get("License-Expression")
    if said["Version"].partition("+")[0] != version or not expression:
        return {}
    return {"licenses": [{"expression": expression}]}


def audit() -> int:
    """Known advisories on every lock; 1 where there are some, 2 where a package could not be looked up."""
    worst = 0
    for name in wanted():
        command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--disable-pip", "--format", "json"]
        done = subprocess.run([*command, "-r", LOCKS / f"{name}.txt"], capture_output=True, text=True, check=False)
        try:
            found = json.loads(done.stdout)["dependencies"]
        except (ValueError, LookupError):
            print(f"{name}: the database cannot be asked: {done.stderr.strip().splitlines()[-1:]}")
            worst = 2
            continue
        known = [(each["name"], advisory["id"]) for each in found for advisory in each.get("vulns", ())]
        unknown = [each["name"] for each in found if "skip_reason" in each]
        print(f"{name}: {len(found) - len(unknown)} of {len(found)} packages looked up, {len(known)} advisories")
        for package, advisory in known:
            print(f"  {package}: {advisory}")
        worst = max(worst, 2 if unknown else 1 if known else 0)
    return worst


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description="Locks, bill of materials and advisories.")
    parser.add_argument("what", choices=("lock", "sbom", "audit"))
    what = parser.parse_args().what
    if what == "sbom":
        print(json.dumps(sbom(), indent=1))
        return 0
    return lock() if what == "lock" else audit()


if __name__ == "__main__":
    sys.exit(main())
