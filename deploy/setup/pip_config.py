"""What the machine's pip configuration says, for uv, which does not read it."""

import ast
import os
import re
from collections.abc import Mapping
from pathlib import Path

from deploy.setup.commands import output
from deploy.setup.paths import VENV_PYTHON

LINE = re.compile(r"^(?P<scope>[\w:-]+?)\.(?P<key>[\w-]+)=(?P<value>.*)$")
UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}
SCOPES = ("global", "install", ":env:")


def parse(listing: str) -> dict[str, str]:
    """Options out of `pip config list`; the environment wins over `install`, that over `global`."""
    found: dict[str, dict[str, str]] = {scope: {} for scope in SCOPES}
    for line in listing.splitlines():
        match = LINE.match(line)
        if match and match["scope"] in found:
            found[match["scope"]][match["key"]] = str(ast.literal_eval(match["value"]))
    return {key: value for scope in SCOPES for key, value in found[scope].items()}


def read() -> dict[str, str]:
    """The options that pip in the environment would use."""
    return parse(output(VENV_PYTHON, "-m", "pip", "config", "list"))


def uv_environment(options: Mapping[str, str]) -> dict[str, str]:
    """The same indexes, link folders and certificates for uv, where its own variables are not set."""
    return {
        variable: _separated(key, options[key])
        for key, variable in UV_VARIABLES.items()
        if key in options and variable not in os.environ
    }


def link_folders(options: Mapping[str, str]) -> list[Path]:
    """Local folders of wheels, from pip's configuration and uv's environment."""
    words = f"{options.get('find-links', '')} {os.environ.get('UV_FIND_LINKS', '').replace(',', ' ')}".split()
    folders = [Path(word.removeprefix("file://")).expanduser() for word in words]
    return [folder for folder in folders if folder.is_dir()]


def _separated(key: str, value: str) -> str:
    return ",".join(value.split()) if key == "find-links" else " ".join(value.split())
