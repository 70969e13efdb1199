"""STEVE-1 and MineCLIP: its prior, its relabelling, its policy with goals and guidance, and its first steps of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prior.text.cvae import GoalPrior, prior_loss
from prior.text.relabel import NO_GOAL, Relabelling, stretches
from tests.parity.finding import Finding, largest_error
from tests.parity.mineclip import check_mineclip
from tests.parity.steve1_policies import check_policy, check_training
from tests.parity.steve1_recipes import fill, read, relative, schema

Golden = Mapping[str, NDArray[Any]]


def find(folder: Path) -> Path | None:
    """Where the files of STEVE-1 lie: in a folder, in `steve1` in it, or in `steve1` beside `vpt`."""
    places = [folder, folder / "steve1", *([folder.parent / "steve1"] if folder.name == "vpt" else [])]
    return next((place for place in places if (place / "schema_prior.json").exists()), None)


def check(folder: Path, most_parameters: float = 1e9) -> Iterator[Finding]:
    """Every array of these files; policies larger than ``most_parameters`` are left out."""
    place = find(folder)
    if place is None:
        return
    for name, part in (("prior", _prior), ("relabel", _relabel)):
        if (place / f"{name}.npz").exists():
            yield from part(place)
    if (place / "mineclip.npz").exists():
        yield from check_mineclip(place, most_parameters)
    for size, seed in (("small", "small"), ("2x", "two")):
        path = place / f"policy_{size}.npz"
        if path.exists():
            yield from check_policy(path, seed, most_parameters)
    if (place / "train_small.npz").exists():
        yield from check_training(place)


@torch.no_grad()
def _prior(place: Path) -> Iterator[Finding]:
    meta, golden = read(place / "prior.npz")
    model = GoalPrior()
    yield schema(model, place / "schema_prior.json")
    fill(model, meta["seeds"]["w"])
    rng = np.random.default_rng([meta["seeds"]["x"], 1])
    texts, videos, noise = (torch.from_numpy(rng.standard_normal((6, 512)).astype(np.float32)) for _ in range(3))
    mean, log_variance = model.posterior(videos, texts)
    ours = {
        "mu": mean,
        "logvar": log_variance,
        "decode_z": model.sample(texts, noise=noise),
        "mean": model.sample(texts, deterministic=True),
        "recon_with_eps_z": model.decode(mean + (0.5 * log_variance).exp() * noise, texts),
        "sampled_torch_seed1234": model.sample(texts, generator=torch.Generator().manual_seed(1234)),
    }
    error = max(largest_error(value, golden[name]) for name, value in ours.items())
    yield Finding("steve1 prior", error, 1e-5, f"{len(ours)} arrays")
    losses = [prior_loss(model, videos, texts, kind="as_published", beta=beta, noise=noise) for beta in (1.0, 1e-3)]
    values = [losses[0].kl * 6, losses[0].error, losses[0].total, losses[1].total]
    wanted = [golden[name] for name in ("kl_sum", "mse_mean", "loss_beta1", "loss_beta1e-3")]
    yield Finding("steve1 prior, losses", relative(values, wanted), 1e-5, "relative")
    many = model.sample(texts[:1].expand(4000, -1), generator=torch.Generator().manual_seed(0))
    spread = torch.from_numpy(golden["sample_std_T0"])
    apart = (many.mean(0) - torch.from_numpy(golden["sample_mean_T0"])).abs() / (spread * (2 / 4000) ** 0.5)
    yield Finding("steve1 prior, mean of samples", float(apart.max()), 5.0, "standard errors")
    apart = (many.std(0) / spread - 1).abs() * 4000**0.5  # of two normal samples' deviations: 1 / sqrt(n)
    yield Finding("steve1 prior, spread of samples", float(apart.max()), 5.0, "standard errors")
    with torch.enable_grad():
        yield from _prior_training(model, golden, texts, videos, noise)


def _prior_training(
    model: GoalPrior, golden: Golden, texts: Tensor, videos: Tensor, noise: Tensor
) -> Iterator[Finding]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    told = []
    for _ in range(3):
        loss = prior_loss(model, videos, texts, kind="as_published", noise=noise)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        told.append([value.item() for value in (loss.total, loss.kl * 6, loss.error)])
    yield Finding("steve1 prior, three steps' losses", relative(told, golden["train3_loss_kl_mse"]), 1e-4, "relative")
    after = model.sample(texts, deterministic=True).detach()
    yield Finding("steve1 prior after three steps", largest_error(after, golden["train3_mean"]), 1e-3)


def _relabel(place: Path) -> Iterator[Finding]:
    meta, golden = read(place / "relabel.npz")
    traces = []
    for count, start, end, least, most, share, seed in golden["trace_cases"]:
        rules = Relabelling(int(least), int(most) - 1, share, as_published=True)
        goals = rules.goal_frames(int(count), int(start), int(end), np.random.RandomState(int(seed)))
        traces.append(np.where(goals == NO_GOAL, 0, goals))
    yield Finding("steve1 relabel", largest_error(traces, golden["trace_goals"]), 0.0, f"{len(traces)} stretches")
    cut = meta["chunks_T640_min15"]
    wrong = sum([list(span) for span in stretches(int(n), 640, as_published=True)] != spans for n, spans in cut.items())
    yield Finding("steve1 relabel, stretches", float(wrong), 0.0, f"{len(cut)} episodes")
    rng, rules = np.random.RandomState(0), Relabelling(unconditional=0.0, as_published=True)
    seen = [rules.goal_frames(3000, 1295, 1935, rng) - np.arange(1295, 1935) for _ in range(1000)]
    apart = float(np.mean(seen)) - meta["dist_mean"]
    yield Finding("steve1 relabel, mean distance", abs(apart), 1.5, "frames, of 1000 draws")
    behind = float(np.mean(np.array(seen) == -1)) - meta["frac_dist_minus1"]
    yield Finding("steve1 relabel, goals behind", abs(behind), 6e-4, "share of frames")
