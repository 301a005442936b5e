"""Content templates: read with the configuration, those that changed."""

from __future__ import annotations

from typing import Any

from storage.config import insert
from storage.database import Connection


async def insert_template(connection: Connection, values: dict[str, Any]) -> None:
    await insert(connection, "content_templates", values)


async def delete_template(connection: Connection, template_id: int) -> None:
    await connection.execute("DELETE FROM content_templates WHERE id = $1", template_id)
