"""What reaches a database."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine


class counted:  # noqa: N801 used like a function
    """The statements that reach a database meanwhile."""

    def __enter__(self) -> list[str]:
        self.statements: list[str] = []
        event.listen(Engine, "before_cursor_execute", self._note)
        return self.statements

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.statements.append(statement)

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "before_cursor_execute", self._note)
