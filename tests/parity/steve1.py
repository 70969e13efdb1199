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
from tests.parity.finding import Finding, Seen, guarded, largest_error, left_over
from tests.parity.mineclip import check_mineclip
from tests.parity.relabelling import check_relabelling
from tests.parity.steve1_policies import check_policy, is_vpt
from tests.parity.steve1_recipes import fill, read, relative, schema
from tests.parity.steve1_training import check_training

Golden = Mapping[str, NDArray[Any]]

SEEDED = "sampled_torch_seed"


def find(folder: Path) -> Path | None:
    """Where most files of STEVE-1 lie: in a folder, in `steve1` in it, or in `steve1` beside `vpt`."""
    places = [folder, folder / "steve1", *([folder.parent / "steve1"] if folder.name == "vpt" else [])]
    most = max(places, key=lambda place: len(files(place)))
    return most if files(most) else None


def files(place: Path) -> list[Path]:
    """The files that there are, in the order in which they are checked."""
    found = [path for name in ("prior", "relabel", "mineclip") if (path := place / f"{name}.npz").exists()]
    found += [path for path in sorted(place.glob("policy_*.npz")) if not is_vpt(path)]
    return found + sorted(place.glob("train_*.npz"))


def check(folder: Path, most_parameters: float = 1e9) -> Iterator[Finding]:
    """Every array of these files; policies larger than ``most_parameters`` are left out."""
    place = find(folder)
    for path in files(place) if place else []:
        if path.stem == "prior":
            found = _prior(path.parent)
        elif path.stem == "relabel":
            found = check_relabelling(path.parent)
        elif path.stem == "mineclip":
            found = check_mineclip(path.parent, most_parameters)
        else:
            found = (check_training if path.stem.startswith("train_") else check_policy)(path, most_parameters)
        yield from guarded(f"steve1 {path.stem}", found)


@torch.no_grad()
def _prior(place: Path) -> Iterator[Finding]:
    meta, arrays = read(place / "prior.npz")
    golden, model = Seen(arrays), GoalPrior()
    yield from schema(model, place / "schema_prior.json")
    fill(model, meta["seeds"]["w"])
    rng, shape = np.random.default_rng([meta["seeds"]["x"], 1]), golden["mu"].shape
    texts, videos, noise = (torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) for _ in range(3))
    yield from guarded("steve1 prior", _prior_samples(model, golden, texts, videos, noise))
    with torch.enable_grad():
        yield from guarded("steve1 prior, training", _prior_training(model, golden, texts, videos, noise))
    yield left_over("steve1 prior", golden.unseen)


def _prior_samples(model: GoalPrior, golden: Golden, texts: Tensor, videos: Tensor, noise: Tensor) -> Iterator[Finding]:
    mean, log_variance = model.posterior(videos, texts)
    ours = {
        "mu": mean,
        "logvar": log_variance,
        "decode_z": model.sample(texts, noise=noise),
        "mean": model.sample(texts, deterministic=True),
        "recon_with_eps_z": model.decode(mean + (0.5 * log_variance).exp() * noise, texts),
    }
    for name in golden:
        if name.startswith(SEEDED):
            seed = int(name.removeprefix(SEEDED))
            ours[name] = model.sample(texts, generator=torch.Generator().manual_seed(seed))
    error = max(largest_error(value, golden[name]) for name, value in ours.items())
    yield Finding("steve1 prior", error, 1e-5, f"{len(ours)} arrays")
    losses = [prior_loss(model, videos, texts, kind="as_published", beta=beta, noise=noise) for beta in (1.0, 1e-3)]
    values = [losses[0].kl * len(texts), losses[0].error, losses[0].total, losses[1].total]
    wanted = [golden[name] for name in ("kl_sum", "mse_mean", "loss_beta1", "loss_beta1e-3")]
    yield Finding("steve1 prior, losses", relative(values, wanted), 1e-5, "relative")
    many = model.sample(texts[:1].expand(4000, -1), generator=torch.Generator().manual_seed(0))
    spread = torch.from_numpy(golden["sample_std_T0"])
    apart = (many.mean(0) - torch.from_numpy(golden["sample_mean_T0"])).abs() / (spread * (2 / 4000) ** 0.5)
    yield Finding("steve1 prior, mean of samples", float(apart.max()), 5.0, "standard errors")
    apart = (many.std(0) / spread - 1).abs() * 4000**0.5  # of two normal samples' deviations: 1 / sqrt(n)
    yield Finding("steve1 prior, spread of samples", float(apart.max()), 5.0, "standard errors")


def _prior_training(
    model: GoalPrior, golden: Golden, texts: Tensor, videos: Tensor, noise: Tensor
) -> Iterator[Finding]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    told = []
    for _ in golden["train3_loss_kl_mse"]:
        loss = prior_loss(model, videos, texts, kind="as_published", noise=noise)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        told.append([value.item() for value in (loss.total, loss.kl * len(texts), loss.error)])
    yield Finding("steve1 prior, three steps' losses", relative(told, golden["train3_loss_kl_mse"]), 1e-4, "relative")
    after = model.sample(texts, deterministic=True).detach()
    yield Finding("steve1 prior after three steps", largest_error(after, golden["train3_mean"]), 1e-3)
