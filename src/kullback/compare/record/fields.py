"""Values of JSON that may come from a stranger: each is asked for with what it may be."""

from __future__ import annotations

from typing import Any

from kullback.compare.record.files import Stored
from kullback.errors import FileFormatError

__all__ = ["Fields"]


class Fields:
    """The values of a JSON object, each asked for with what it may be."""

    def __init__(self, data: Any, where: str) -> None:
        self.where = where
        if not isinstance(data, dict):
            raise FileFormatError(f"{where} holds {data!r:.60} where an object belongs")
        self.data = data

    def _refuse(self, name: str, wanted: str) -> FileFormatError:
        value = self.data.get(name)
        return FileFormatError(
            f"{self.where}: {name!r} is {value!r:.60} and must be {wanted}: the record is "
            "damaged; record again"
        )

    def integer(self, name: str, low: int, high: int) -> int:
        value = self.data.get(name)
        if type(value) is not int or not low <= value <= high:
            raise self._refuse(name, f"a whole number from {low} to {high}")
        return value

    def number(self, name: str) -> float:
        value = self.data.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e300:
            return float(value)
        raise self._refuse(name, "a finite number ≥ 0")

    def one_of(self, name: str, choices: tuple[Any, ...]) -> Any:
        value = self.data.get(name)
        if type(value) not in {type(choice) for choice in choices} or value not in choices:
            raise self._refuse(name, f"one of {', '.join(map(repr, choices))}")
        return value

    def text(self, name: str) -> str:
        value = self.data.get(name)
        if not isinstance(value, str):
            raise self._refuse(name, "text")
        return value

    def texts(self, name: str) -> list[str]:
        value = self.data.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._refuse(name, "a list of texts")
        return value

    def object(self, name: str) -> Fields:
        return Fields(self.data.get(name), f"{self.where}, {name!r}")

    def objects(self, name: str) -> list[Fields]:
        value = self.data.get(name)
        if not isinstance(value, list):
            raise self._refuse(name, "a list")
        return [Fields(item, f"{self.where}, {name!r}") for item in value]

    def stored(self) -> Stored:
        return Stored(self.text("file"), self.integer("bytes", 0, 1 << 60), self.text("sha256"))
