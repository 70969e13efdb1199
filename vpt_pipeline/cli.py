"""The ``vpt`` command: one table of verbs; a verb's module is imported only when the verb is used.

So ``vpt --help`` answers at once on a bare install, and a missing optional package breaks only the verb that needs it.
"""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vpt_pipeline.waiting_threads import threads_wait_asleep


@dataclass(frozen=True)
class Verb:
    """A command: its module, the name of its settings class, what it is for, and the function that does it."""

    module: str
    config: str
    summary: str
    function: str = "main"


VERBS: dict[str, Verb] = {
    "demo": Verb("vpt_pipeline.demo", "DemoConfig", "the whole pipeline in the embedded game, ending in a report"),
    "record": Verb("vpt_pipeline.record", "RecordConfig", "record scripted play: video, actions and game events"),
    "data fetch": Verb("vpt_pipeline.fetch", "FetchConfig", "download published recordings: N hours of an index file"),
    "train-idm": Verb("vpt_pipeline.train_idm", "TrainIdmConfig", "train an inverse dynamics model on recordings"),
    "label": Verb("vpt_pipeline.label", "LabelConfig", "write which actions were taken in videos that have none"),
    "eval-idm": Verb("vpt_pipeline.eval_idm", "EvalIdmConfig", "judge labels against recorded actions"),
    "thresholds": Verb(
        "vpt_pipeline.thresholds", "ThresholdsConfig", "choose how sure labels must be: accuracy against the share kept"
    ),
    "filter": Verb("vpt_pipeline.filter", "FilterConfig", "the spans of labels worth training on, as a table"),
    "train-prior": Verb(
        "vpt_pipeline.train_prior", "TrainPriorConfig", "train a behavioural prior on recordings or on labelled videos"
    ),
    "train-text": Verb("vpt_pipeline.train_text", "TrainTextConfig", "teach a prior to follow texts"),
    "finetune-rl": Verb(
        "vpt_pipeline.finetune_rl", "FinetuneRlConfig", "fine-tune a prior by reinforcement, in a game"
    ),
    "train-clip": Verb("vpt_pipeline.train_clip", "TrainClipConfig", "train an embedding of texts and clips of play"),
    "play": Verb("vpt_pipeline.play", "PlayConfig", "watch an agent play a task"),
    "evaluate": Verb("vpt_pipeline.evaluate", "EvaluateConfig", "let agents play tasks, and compare what they reach"),
    "index": Verb(
        "vpt_pipeline.index", "IndexConfig", "demonstrations for the search agent: recordings in, an agent out"
    ),
    "demos list": Verb("vpt_pipeline.demos", "ListConfig", "what a set of demonstrations holds", "list_demos"),
    "demos enable": Verb("vpt_pipeline.demos", "ChooseConfig", "let the search agent copy demonstrations", "enable"),
    "demos disable": Verb("vpt_pipeline.demos", "ChooseConfig", "... or not, without losing them", "disable"),
    "demos remove": Verb("vpt_pipeline.demos", "ChooseConfig", "take demonstrations out of a set", "remove"),
    "demos tag": Verb("vpt_pipeline.demos", "TagConfig", "change their tags and texts", "tag"),
    "demos merge": Verb("vpt_pipeline.demos", "MergeConfig", "add another set's demonstrations", "merge"),
    "inspect": Verb(
        "vpt_pipeline.inspect", "InspectConfig", "an overlay video: keys, mouse and confidence, beside the truth"
    ),
    "convert": Verb(
        "vpt_pipeline.convert", "ConvertConfig", "published weights to safetensors and config.json, or back"
    ),
    "doctor": Verb(
        "vpt_pipeline.doctor", "DoctorConfig", "what works on this machine, what is missing and what mends it"
    ),
    "doctor minerl": Verb(
        "vpt_pipeline.minerl_doctor", "MinerlDoctorConfig", "... and of Minecraft through MineRL, step by step"
    ),
}

HELP = ("-h", "--help", "help")


def usage() -> str:
    width = max(map(len, VERBS))
    lines = [
        "usage: vpt VERB [options]      (vpt VERB --help explains a verb)",
        "",
        "From game video to an agent. Verbs:",
        "",
    ]
    lines += [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    lines += ["", "Start with `vpt demo`; for your own videos: `vpt label VIDEO... --model MODEL`.", ""]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run a verb. Returns the exit code: 0 done, 1 done but something was refused, 2 wrong use or bad input."""
    try:
        code = _main(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever reads, such as `| head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _main(arguments: list[str]) -> int:
    group = arguments[:1] and arguments[0] not in VERBS and _family(arguments[0])
    if not arguments or arguments[0] in HELP or (group and arguments[1:2] and arguments[1] in HELP):
        print(usage())
        return 0
    name, rest = _split(arguments)
    if name in ("-V", "--version"):
        from importlib.metadata import version

        print(f"vpt-pipeline {version('vpt-pipeline')}")
        return 0
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, 1)
        hint = f" Did you mean `vpt {near[0]}`?" if near else ""
        if not near and (family := _family(arguments[0])):
            hint = f" There is {', '.join(f'`vpt {verb}`' for verb in family)}."
        print(f"vpt: there is no verb {name!r}.{hint} `vpt --help` lists them.", file=sys.stderr)
        return 2
    return _run(name, VERBS[name], rest)


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    """The verb and what follows it. Some verbs are two words, as `data fetch`."""
    two = arguments[1:2] and not arguments[1].startswith("-") and _family(arguments[0])
    words = 2 if two else 1
    return " ".join(arguments[:words]), arguments[words:]


def _family(word: str) -> list[str]:
    """The verbs of two words that begin with this one."""
    return [verb for verb in VERBS if verb.startswith(f"{word} ")]


def _run(name: str, verb: Verb, rest: list[str]) -> int:
    threads_wait_asleep()
    try:
        module = importlib.import_module(verb.module)
    except ModuleNotFoundError as error:
        print(
            f"vpt {name}: the package {error.name!r} is missing. `vpt doctor` says how to install it.", file=sys.stderr
        )
        return 2
    import tyro

    config = tyro.cli(getattr(module, verb.config), prog=f"vpt {name}", args=rest, description=module.__doc__)
    try:
        with _plain_warnings(name):
            return int(getattr(module, verb.function)(config))
    except (ValueError, OSError) as error:
        print(f"vpt {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nvpt {name}: stopped. The same command again goes on where it stopped.", file=sys.stderr)
        return 130


@contextmanager
def _plain_warnings(name: str) -> Iterator[None]:
    """What warns the person is told as errors are, without a place in the code."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if category is UserWarning:
                print(f"vpt {name}: warning: {message}", file=sys.stderr)
            else:
                shown(message, category, *where, **more)

        warnings.showwarning = show
        yield
