"""`python -m tests.browser.scripted_page --port N`: the page over the scripted backend."""

import sys

from app import build
from inference.command_line import parse
from tests.scripted_backend import ScriptedBackend

if __name__ == "__main__":
    sys.exit(build(parse(sys.argv[1:], {}), lambda: ScriptedBackend(pause=0.4)).start())
