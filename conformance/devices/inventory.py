"""Which devices a process for placed models has: a short one is asked, and the asking one neither registers nor imports any."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import msgspec
from msgspec import Struct

from conformance.core.errors import UserError
from conformance.devices.current import entered, environment_for
from conformance.devices.lanes import Lane, chosen
from conformance.worker.environment import environment


class Present(Struct, frozen=True):
    """The lane, what its devices are called, and for each better lane why it is not taken."""

    lane: Lane
    names: tuple[str, ...]
    why_not: dict[str, str]

    def __str__(self) -> str:
        by_reason: dict[str, list[str]] = {}
        for lane, why in self.why_not.items():
            by_reason.setdefault(why, []).append(lane)
        reasons = "".join(f"; not {' or '.join(lanes)}: {why}" for why, lanes in by_reason.items())
        return f"{self.lane}: {', '.join(self.names)}{reasons}"


class Refused(Struct, frozen=True, tag=True):
    """A user's error, on its way from the other process."""

    code: str
    message: str
    cause: str
    cure: str


@cache
def present(devices: str = "") -> Present:
    """What a process for placed models would have; ``devices`` are real ones, empty for the best lane.

    Raises :class:`~conformance.core.errors.UserError` for devices or a lane that it cannot have.
    """
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(
        command, env=environment(environment_for(devices)), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the process that was asked for its devices failed: {done.stderr[-2000:]}")
    answer = done.stdout.splitlines()[-1]
    if '"type":"Refused"' in answer:
        refused = msgspec.json.decode(answer, type=Refused)
        raise UserError(refused.code, refused.message, refused.cause, refused.cure)
    return msgspec.json.decode(answer, type=Present)


def _tell() -> Present | Refused:
    try:
        mine = entered()
        why_not = {} if mine.lane == "real" else chosen()[1]
        return Present(mine.lane, mine.names, {str(lane): why for lane, why in why_not.items()})
    except ImportError as error:
        return Refused("broken-torch", "torch does not import here", str(error), "mend or install torch")
    except UserError as error:
        return Refused(error.code, error.message, error.cause, error.cure)


if __name__ == "__main__":
    print(msgspec.json.encode(_tell()).decode())
