"""How the OpenAPI document tells which operations ask for a key."""

from typing import Any

from services.server.api.documented import problems
from services.server.api.doors import Doors, is_admin

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
EITHER: list[dict[str, list[str]]] = [{name: []} for name in SCHEMES]
NO_KEY = problems(s401="No key was sent, or one that is not known here.")
NO_ADMIN = problems(s403="The key is not an admin's, or no admin key is configured.")


def secured(document: dict[str, Any], doors: Doors) -> dict[str, Any]:
    """The document with both ways to send a key, and the operations that ask for one marked."""
    document.setdefault("components", {})["securitySchemes"] = SCHEMES
    for path, operations in document["paths"].items():
        if doors.takes(path):
            for operation in operations.values():
                operation["security"] = EITHER
                operation["responses"] |= NO_KEY | (NO_ADMIN if is_admin(path) else {})
    return document
