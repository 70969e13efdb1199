"""What is done with log-probabilities (drawing, likelihood, entropy, divergence) and the value normaliser: actions.npz."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prior.nn.heads import ValueHead, chosen_logprob, entropy, kl_divergence, sample
from tests.parity.finding import Finding, guarded, largest_error, vpt_folder

CLOSE = 1e-5


def check(folder: Path) -> Iterator[Finding]:
    """The arrays of actions.npz that the heads make; of the buttons' the files hold the first rows only."""
    path = vpt_folder(folder) / "actions.npz"
    if not path.exists():
        return
    golden = dict(np.load(path))
    get = {name: torch.from_numpy(array) for name, array in golden.items() if array.dtype.kind in "fi"}
    yield from guarded("actions heads", _distributions(get, golden))
    yield from guarded("actions value normaliser", _normaliser(get, golden))


def _distributions(get: dict[str, Tensor], golden: dict[str, np.ndarray]) -> Iterator[Finding]:
    logprobs = {"camera": get["sample_seedcheck"], "buttons": get["sample_logits_buttons"]}
    wrong, parts = 0.0, {"logprob": 0.0, "kl": 0.0}
    for column, (name, p) in enumerate(logprobs.items()):
        rows = len(p)
        drawn = sample(p, get[f"sample_u_{name}"])
        wrong += float(
            (drawn != get[f"sample_{name}"][:rows]).sum() + (p.argmax(-1) != get[f"argmax_{name}"][:rows]).sum()
        )
        ours = {"logprob": chosen_logprob(p, drawn), "kl": kl_divergence(p, get[f"kl_q_{name}"])}
        for what, tensor in ours.items():
            theirs = golden[f"{what}_parts"].reshape(-1, 2)[:rows, column]
            parts[what] = max(parts[what], largest_error(tensor.numpy().reshape(rows), theirs))
    yield Finding("actions sampling", wrong, 0.0)
    rows = len(logprobs["buttons"])
    both = sum((entropy(p)[:rows] for p in logprobs.values()), torch.zeros(())).reshape(rows)
    yield Finding("actions entropy", largest_error(both.numpy(), golden["entropy"].reshape(-1)[:rows]), CLOSE)
    for what, error in parts.items():
        yield Finding(f"actions {what}", error, CLOSE)
        total = golden[f"{what}_parts"].reshape(-1, 2).sum(1)
        yield Finding(f"actions {what}, summed", largest_error(total, golden[what].reshape(-1)), CLOSE)


def _normaliser(get: dict[str, Tensor], golden: dict[str, np.ndarray]) -> Iterator[Finding]:
    head, rows = ValueHead(4), []
    normalizer = head.normalizer
    for returns in get["vnorm_x"]:
        normalised = normalizer.train()(returns)
        again = normalizer.eval()(returns)
        back = normalizer.denormalize(normalised)
        state = [normalizer.running_mean, normalizer.running_mean_sq, normalizer.debiasing_term[None]]
        rows.append(torch.cat([t.flatten().double() for t in (normalised, again, back, *state)]).numpy())
    yield Finding("actions value normaliser", largest_error(np.stack(rows), golden["vnorm_out"]), CLOSE)
    loss = head.eval().loss(get["vnorm_pred"], get["vnorm_x"][0]).item()
    yield Finding("actions value loss", largest_error(loss, golden["vnorm_loss_eval"]), CLOSE)
