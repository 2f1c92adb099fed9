"""The labels file: a line per answer, appended and synced before anything else happens."""

from pathlib import Path
from typing import Any

from burnish.data.labels import Vote, votes_of
from burnish.recipes.journal import Journal
from burnish.run import UserError


class LabelFile(Journal):
    """The answers in a file, see `Journal`. Raises UserError also where they are not labels of the data with this
    checksum."""

    command, record, remedy = "burnish label", "a label", "make room there; the answer is kept on the page"

    def __init__(self, path: str | Path, data: str) -> None:
        self.data = data
        self.votes: list[Vote] = []
        self.ids: dict[str, int] = {}
        """The number of each answer's record."""
        super().__init__(path)

    def keep(self, record: dict[str, Any]) -> None:
        number = len(self.records)
        self.votes += votes_of([(number, record)], str(self.path))
        super().keep(record)
        self.ids[str(record.get("id"))] = number

    def check(self) -> None:
        for record in self.records:
            if record.get("data") != self.data:
                raise UserError(
                    f"{self.path} has labels of other data (checksum {str(record.get('data'))[:12]}, not "
                    f"{self.data[:12]}): choose another --out, or give the data that it was begun with"
                )
