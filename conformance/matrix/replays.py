"""How one Case looks on one pair: replayed with its controls, in a process that sees the pair."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from conformance.core.case import Case
from conformance.core.finding import Finding
from conformance.core.outcome import How, Outcome
from conformance.core.pair import Pair
from conformance.engine.controls import Example
from conformance.matrix import process as child
from conformance.matrix.bisect import Look, Seen
from conformance.matrix.store import Store
from conformance.matrix.uv import Unreachable


class Replays:
    """Replays of one Case against one clause, remembered by pair. ``broken`` names the pairs on which the harness failed.

    The first violation says which kind is looked for: a release that fails in another way is neither good nor bad.
    """

    def __init__(self, store: Store, case: Case, clause: str, family_files: Sequence[Path] = ()) -> None:
        self.store, self.case, self.clause = store, case, clause
        self.family_files = [str(file.absolute()) for file in family_files]
        self.kind: tuple[str, ...] | None = None
        self.broken: list[Pair] = []
        self.runs = 0
        self._looks: dict[Pair, tuple[Look, str]] = {}

    def look(self, pair: Pair, axis: str) -> Seen:
        """How the Case fares on ``pair``, as a release of ``axis``."""
        if pair not in self._looks:
            self._looks[pair] = self._replayed(pair)
        look, why = self._looks[pair]
        return Seen(release=pair.on(axis), look=look, why=why)

    def _replayed(self, pair: Pair) -> tuple[Look, str]:
        try:
            admission = self.store.admit(pair)
        except Unreachable as error:
            self.broken.append(pair)
            return (Look.NEITHER, f"its environment could not be built: {error}")
        if admission.why:
            return (Look.NEITHER, f"impossible: {admission.why}")
        self.runs += 1
        answer = self._replay(self.store.paths(admission))
        if isinstance(answer, str):
            self.broken.append(pair)
            return (Look.NEITHER, f"broken harness: {answer}")
        return self._judged(pair, answer)

    def _judged(self, pair: Pair, answer: Example) -> tuple[Look, str]:
        if answer.outcome is Outcome.CONFORMS:
            return (Look.GOOD, answer.outcome.value)
        if answer.finding is None or answer.outcome is not Outcome.VIOLATES:
            if answer.outcome is Outcome.BROKEN:
                self.broken.append(pair)
            lines = answer.reason.strip().splitlines() or [""]
            return (Look.NEITHER, f"{answer.outcome.value}: {lines[-1]}")
        kind = kind_of(answer.finding)
        self.kind = self.kind or kind
        words = ", ".join(kind)
        return (Look.BAD, words) if kind == self.kind else (Look.NEITHER, f"fails in another way: {words}")

    def _replay(self, paths: list[str]) -> Example | str:
        files = [f"--family-file={file}" for file in self.family_files]
        options = (f"--clause={self.clause}", "--known=none", "--format=json")
        arguments = ["replay", self.case.to_json(), *options, *files]
        with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
            answer, log = Path(folder) / "answer.json", Path(folder) / "log"
            with answer.open("wb") as out, log.open("wb") as err:
                code = child.call("conformance", arguments, paths, out=out, err=err, limit=child.REPLAYING)
            text = answer.read_bytes()
            if code == 5 and not text.strip():  # noqa: PLR2004 - nothing was tested, and why is said beside
                return Example(case=self.case, outcome=Outcome.NOT_APPLICABLE, reason=child.last_line(log))
            try:
                return msgspec.json.decode(text, type=Example)
            except msgspec.MsgspecError:
                return f"replay ended with exit code {code}: {child.last_line(log)}"


def kind_of(finding: Finding) -> tuple[str, ...]:
    """What makes two failures of one Case the same on two releases: a crash is told by its exception, too."""
    if finding.how is How.CRASH:
        return finding.how.value, finding.difference.what, finding.difference.got.partition(":")[0]
    return (finding.how.value,)
