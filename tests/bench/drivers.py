"""How onboardings are given and what is read off meanwhile."""

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

from tests.bench.contenders import Contender, Engine, Groups, address, content
from tests.bench.processes import Unfinished, cpu_seconds, resident_mb
from tests.bench.stub_vendor.client import Stub

CLIENTS = 4
"""Onboardings that are being given at once."""
INTAKE_CLIENTS = 8
SPREAD_CLIENTS = 32
"""For posts at fixed times: enough that none waits for a client."""
CALLS, ENTERPRISE_CALLS = 14, 20
LONGEST_SECONDS = 600.0
STANDSTILL_SECONDS = 60.0
"""Without a call for so long, nothing goes on."""
LOOK_EVERY = 0.05


@dataclass(frozen=True)
class Batch:
    """Onboardings given all at once, from the first one's posting to the last one's last call."""

    onboardings: int
    seconds: float
    cpu: dict[str, float]
    """Seconds an onboarding, by group of processes."""
    calls: int
    twice: int
    mb: dict[str, list[float]]
    """Resident at the end, of each process."""

    @property
    def per_second(self) -> float:
        return self.onboardings / self.seconds

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"per_second": self.per_second}


def batch(
    contender: Contender,
    stub: Stub,
    name: str,
    size: int,
    *,
    calls: int = CALLS,
    is_sound: bool = True,
    until_recorded: bool = True,
) -> Batch:
    """``name``: unique, begins the names of the onboardings. ``calls``: that each makes. ``is_sound``: no fault is meant, so that
    each makes its calls once.
    ``until_recorded``: ours wait until no run is under way.

    Raises ``Unfinished`` where they do not end, or a sound one made other calls.
    """
    names = [f"{name}-{number}" for number in range(size)]
    before = stub.counts()
    cpu = _cpu(contender.processes())
    began = time.time()
    give(contender, names)
    until_finished(stub, names, before["finished"])
    if isinstance(contender, Engine) and until_recorded:
        # Vendors that fail, or ask for patience, may do so after the last call was carried out.
        until(stub, lambda _: contender.unfinished() == 0)
    # Listed anew: what was started meanwhile, such as a connection's process of the database, counts too.
    groups = contender.processes()
    spent = {group: (seconds - cpu[group]) / size for group, seconds in _cpu(groups).items()}
    seconds = max(ends(stub, names)) - began
    after = stub.counts()
    done = Batch(
        size,
        seconds,
        spent,
        after["calls"] - before["calls"],
        after["twice"] - before["twice"],
        {group: resident_mb(processes) for group, processes in groups.items() if group != "database"},
    )
    if is_sound and (done.calls, done.twice) != (calls * size, 0):
        raise Unfinished(f"{size} onboardings made {done.calls} calls and {done.twice} objects twice.")
    return done


def _cpu(groups: Groups) -> dict[str, float]:
    return {group: cpu_seconds(processes) for group, processes in groups.items()}


def give(contender: Contender, names: list[str]) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(contender.begin, names))


def ends(stub: Stub, names: list[str]) -> list[float]:
    """When each one's last call was answered."""
    finished = stub.finished()
    return [finished[address(each)] for each in names]


def until_finished(stub: Stub, names: list[str], before: int) -> None:
    """``before``: how many had finished when these were begun. Others may be under way besides these.

    All that ever finished are asked for only once there are enough: the vendor would spend the more on it the more there were.
    """
    enough, wanted = before + len(names), set(map(address, names))
    until(stub, lambda counts: counts["finished"] >= enough and stub.finished().keys() >= wanted)


def until(stub: Stub, is_so: Callable[[dict[str, Any]], bool]) -> None:
    """Waits. ``is_so`` is given the vendor's counts. Raises ``Unfinished`` where nothing moves any more."""
    began = moved = time.monotonic()
    calls = -1
    while not is_so(counts := stub.counts()):
        now = time.monotonic()
        moved, calls = (now, counts["calls"]) if counts["calls"] != calls else (moved, calls)
        if now > min(moved + STANDSTILL_SECONDS, began + LONGEST_SECONDS):
            raise Unfinished(f"Not all onboardings ended; {counts['finished']} did, with {counts['calls']} calls.")
        time.sleep(LOOK_EVERY)


def steadily(contender: Contender, stub: Stub, name: str, per_second: float, seconds: float) -> list[float]:
    """Seconds from each onboarding's giving to the answer of its last call, while they come one by one."""
    names = [f"{name}-{number}" for number in range(int(per_second * seconds))]
    posted: dict[str, float] = {}
    before = stub.counts()["finished"]

    def begin(each: str) -> None:
        posted[each] = time.time()
        contender.begin(each)

    with ThreadPoolExecutor(CLIENTS) as pool:
        futures = [pool.submit(begin, each) for each in paced(names, per_second)]
        for future in futures:
            future.result()
    until_finished(stub, names, before)
    return sorted(end - posted[each] for each, end in zip(names, ends(stub, names), strict=True))


def paced(names: list[str], per_second: float) -> Iterator[str]:
    """Each at its time, whatever became of those before."""
    began = time.monotonic()
    for number, each in enumerate(names):
        time.sleep(max(0.0, began + number / per_second - time.monotonic()))
        yield each


# --- The intake alone -------------------------------------------------------------------------------------------------


def posts_a_second(engine: Engine, name: str, seconds: float, status: int, again: int = 0) -> tuple[float, int]:
    """As many posts as the clients get through; and how many there were. All must be answered with ``status``.

    ``again``: the first so many of ``name`` once more, over and over.
    """
    deadline, numbers = time.monotonic() + seconds, count()

    def go_on() -> int:
        done = 0
        while time.monotonic() < deadline:
            number = next(numbers)
            answer = engine.post(content(f"{name}-{number % again if again else number}"))
            if answer != status:
                raise Unfinished(f"A post was answered with {answer}, not {status}.")
            done += 1
        return done

    began = time.monotonic()
    with ThreadPoolExecutor(INTAKE_CLIENTS) as pool:
        done = sum(future.result() for future in [pool.submit(go_on) for _ in range(INTAKE_CLIENTS)])
    return done / (time.monotonic() - began), done


def answer_seconds(engine: Engine, name: str, per_second: float, seconds: float) -> list[float]:
    """Of posts that come at fixed times, each from its time on: one that has to wait for those before it is late, too."""
    names = [f"{name}-{number}" for number in range(int(per_second * seconds))]

    def post(each: str, at: float) -> float:
        engine.begin(each)
        return time.monotonic() - at

    with ThreadPoolExecutor(SPREAD_CLIENTS) as pool:
        futures = [pool.submit(post, each, time.monotonic()) for each in paced(names, per_second)]
        return sorted(future.result() for future in futures)


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: list[float]) -> float:
    return statistics.median(values)
