"""`vpt evaluate --cluster`: episodes played by Ray actors, each of which keeps a game (and its agent's weights) warm.

As in labelling (cluster/fleet.py), the driver knows which episode is where: an actor or node that dies costs the episode that
it had in hand, which is begun again elsewhere; Ray's own restarts and retries are off. What an episode needs (the package, the
game, the agents) is where the actor runs; what comes of it, videos too, travels back to the driver, which alone writes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from data.files import atomic_path
from vpt_pipeline.cluster.connect import connect, last_line
from vpt_pipeline.processes import Turn, Turns, Watch
from vpt_pipeline.rollout import ATTEMPTS, Rollout, RolloutPlan, Stage, alike, roll_out

FAILED_STARTS = 3
"""So many actors may die while they start, one after the other, before the evaluation gives up."""
CLOSE_SECONDS, STOP_SECONDS = 60.0, 30.0
"""What actors have to end their games when all is played, and when all is stopped."""
ROOM_SECONDS = 30.0
"""After so long without any actor the person is told that there is no room."""
_LOOK_SECONDS = 1.0
_VIDEOS = "vpt-videos-"
_MINERL_VARIABLES = ("VPT_MINERL_", "MINERL_SRC")


@dataclass(frozen=True)
class ClusterGames:
    """address: local, auto or HOST:PORT; workers: actors, a game each; cpus: that each takes."""

    address: str
    workers: int
    cpus: float = 1


@dataclass(frozen=True)
class Played:
    """files: name -> content of what belongs to the video."""

    rollout: Rollout
    files: dict[str, bytes]


@runtime_checkable
class Opens(Protocol):
    """An env that can say at once, before an episode, whether it can be played."""

    def open(self) -> None: ...


class _StoppedError(Exception):
    """Nobody waits for this episode any more."""


class Player:
    """Plays episodes one after another, wherever Ray has put it.

    folder: where the driver stands; paths mean the same here if it is there. variables: of the driver, where MineRL is, if
    this machine does not say so itself.
    """

    def __init__(self, folder: str, variables: Mapping[str, str]) -> None:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        if not minerl_variables(os.environ):
            os.environ.update(variables)
        self._stage, self._frames = Stage(), 0
        self._playing, self._stopped = threading.Lock(), False
        _sweep()

    def start(self, plan: RolloutPlan) -> str:
        """The machine's name. Raises where an episode's game cannot be played here, as far as can be told without a world."""
        with self._stage.env(plan.game, plan.size) as env:
            if isinstance(env, Opens):
                env.open()
        return socket.gethostname()

    def frames(self) -> int:
        """How many frames of the episode are played."""
        return self._frames

    def play(self, plan: RolloutPlan) -> Played:
        with self._playing, tempfile.TemporaryDirectory(prefix=f"{_VIDEOS}{os.getpid()}-") as folder:
            self._frames = 0
            here = None if plan.video is None else Path(folder) / plan.video.name
            rollout = roll_out(replace(plan, video=here), self._count, self._stage)
            files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
        return Played(replace(rollout, video=None if rollout.video is None else str(plan.video)), files)

    def _count(self, frames: int) -> None:
        if self._stopped:
            raise _StoppedError
        self._frames = frames

    def close(self) -> None:
        """End the game, an episode in it too: Ray would kill the processes that see to it that nothing is left."""
        self._stopped = True
        with self._playing:
            self._stage.close()


def _sweep() -> None:
    """Remove the videos of actors on this machine that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_VIDEOS}*"):
        owner = folder.name.removeprefix(_VIDEOS).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def minerl_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What an environment says of where MineRL runs."""
    return {name: value for name, value in environment.items() if name.startswith(_MINERL_VARIABLES)}


@dataclass
class _Seat:
    """An actor. starting, playing, asked: what it has been asked and not answered yet."""

    actor: Any
    starting: Any
    node: str = ""
    turn: Turn[RolloutPlan] | None = None
    last: RolloutPlan | None = None
    playing: Any = None
    asked: Any = None


def play_on_cluster(
    plans: Sequence[RolloutPlan],
    games: ClusterGames,
    watch: Watch[RolloutPlan, Rollout],
    warn: Callable[[str], None] = lambda text: None,
) -> list[Rollout]:
    """The episodes of all plans, in order. Raises ValueError where no actor can play, and what an agent raises."""
    connect(games.address)
    company = _Company(Turns(plans, ATTEMPTS, watch, alike), plans[0], games, warn)
    try:
        return company.run()
    except BaseException:
        company.end(STOP_SECONDS)
        raise


class _Company:
    """All actors. first: an episode to try the actors' games with."""

    def __init__(
        self,
        turns: Turns[RolloutPlan, Rollout],
        first: RolloutPlan,
        games: ClusterGames,
        warn: Callable[[str], None],
    ) -> None:
        self._turns, self._first, self._games, self._warn = turns, first, games, warn
        remote: Any = ray.remote(Player)
        self._player = remote.options(
            num_cpus=games.cpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=2,  # it tells how far it is while it plays
            scheduling_strategy="SPREAD",
        )
        self._seats: list[_Seat] = []
        self._refused: dict[str, str] = {}
        self._refusals = self._failed_starts = 0
        self._begun, self._asked, self._told = time.monotonic(), 0.0, False

    def run(self) -> list[Rollout]:
        while len(self._turns) or any(seat.turn for seat in self._seats):
            self._fill()
            for seat in self._seats:
                if seat.node and seat.turn is None and len(self._turns):
                    self._give(seat, self._turns.take(seat.last))
            self._look()
            refs = [ref for seat in self._seats for ref in (seat.starting, seat.playing, seat.asked) if ref is not None]
            ray.wait(refs, num_returns=1, timeout=_LOOK_SECONDS)
            for ref in ray.wait(refs, num_returns=len(refs), timeout=0)[0]:
                self._collect(ref)
        self.end(CLOSE_SECONDS)
        return self._turns.results

    def _fill(self) -> None:
        """As many actors as are wanted, where they have not been refused, and no more than there is work for."""
        work = len(self._turns) + sum(seat.turn is not None for seat in self._seats)
        for _ in range(min(self._games.workers - self._refusals, work) - len(self._seats)):
            actor = self._player.remote(str(Path.cwd()), minerl_variables(os.environ))
            self._seats.append(_Seat(actor, actor.start.remote(self._first)))
        if not self._seats:
            raise ValueError("no machine of the cluster can play: " + "; ".join(self._refused.values()))

    def _give(self, seat: _Seat, turn: Turn[RolloutPlan]) -> None:
        seat.turn = turn
        seat.playing = seat.actor.play.remote(turn.job)

    def _look(self) -> None:
        """Ask now and then how far those are that play."""
        now = time.monotonic()
        if now - self._asked > _LOOK_SECONDS:
            self._asked = now
            for seat in self._seats:
                if seat.turn is not None and seat.asked is None:
                    seat.asked = seat.actor.frames.remote()
        if not self._told and now - self._begun > ROOM_SECONDS and not any(seat.node for seat in self._seats):
            self._told = True
            have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            self._warn(
                f"[yellow]waiting for room: a game takes {self._games.cpus:g} CPUs (--cpus), the cluster has "
                f"{have.get('CPU', 0):g} in all[/yellow]"
            )

    def _collect(self, ref: Any) -> None:
        seat = next((s for s in self._seats if ref in (s.starting, s.playing, s.asked)), None)
        if seat is None:  # it died meanwhile
            return
        try:
            answer = ray.get(ref)
        except RayTaskError as error:  # it lives, but raised
            if ref == seat.starting:
                self._refuse(seat, error)
            elif isinstance(error.cause, (ValueError, OSError)):
                raise ValueError(f"on {seat.node}: {error.cause}") from error
            else:
                raise
            return
        except RayError as error:  # it died, or the answer was lost with its node
            self._bury(seat, error)
            return
        if ref == seat.starting:
            seat.starting, seat.node, self._failed_starts = None, answer, 0
        elif ref == seat.playing:
            self._take(seat, answer)
        else:
            seat.asked = None
            if seat.turn is not None:
                self._turns.watch.heard(seat.turn.job, answer)

    def _take(self, seat: _Seat, played: Played) -> None:
        turn = seat.turn
        assert turn is not None
        seat.playing, seat.asked, seat.turn, seat.last = None, None, None, turn.job
        for name, content in played.files.items():
            assert turn.job.video is not None
            with atomic_path(turn.job.video.with_name(name)) as part:
                part.write_bytes(content)
        self._turns.done(turn, played.rollout)

    def _refuse(self, seat: _Seat, error: RayTaskError) -> None:
        """A machine that cannot play: its actor is let go, and not replaced."""
        self._remove(seat)
        self._refusals += 1
        why = last_line(error.cause)
        if why not in self._refused:
            self._refused[why] = why
            self._warn(f"[yellow]a machine of the cluster cannot play:[/yellow] {why}")

    def _bury(self, seat: _Seat, error: RayError) -> None:
        self._remove(seat)
        if seat.starting is not None:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS:
                raise ValueError(
                    f"{self._failed_starts} actors died while they started, one after the other: {last_line(error)}"
                ) from error
        if seat.turn is not None:
            how = f"on {seat.node} " + ("died" if isinstance(error, RayActorError) else "was lost")
            self._turns.died(seat.turn, f"{how} ({last_line(error)})")

    def _remove(self, seat: _Seat) -> None:
        self._seats.remove(seat)
        ray.kill(seat.actor)

    def end(self, patience: float) -> None:
        """End all games: those of actors that do not answer within ``patience`` seconds end with their processes."""
        try:
            closing = [seat.actor.close.remote() for seat in self._seats if seat.node]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=patience)
        finally:
            for seat in list(self._seats):
                self._remove(seat)
