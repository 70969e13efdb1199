"""A policy with a goal: VPT's, and one linear layer that adds the goal to what each frame shows.

Lifshitz et al. 2023, "STEVE-1" (arXiv 2306.00937); names and numbers are those of the published weights. The goal is an
embedding of MineCLIP's, as it comes (not normalised), added once, before the transformer. The null goal is the zero vector, to
which the layer still adds its bias: a policy without a goal is not the policy that it was made from.

The image trunk does not see the goal, so its features of a frame serve the stream with the goal and the one without.

Shape suffixes: B streams, T frames, D hidden size, G size of a goal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from prior.checkpoint import HARMLESS, read_config
from prior.config import PolicyConfig
from prior.locate import find_model
from prior.nn.heads import ValueHead
from prior.nn.linear import Linear
from prior.nn.memory import Memory
from prior.policy import Policy, PolicyOutput
from prior.published import policy_config
from prior.published_files import load_into, read_weights
from prior.text.cvae import GOAL_SIZE

GOAL_LAYER = "net.mineclip_embed_linear."
LANDMARK = "net.final_ln.weight"
"""A name that every policy has, by which is told what stands before all names."""

Start = Literal["unchanged", "as_published"]


class GoalPolicy(Policy):
    """See the module's docstring. Everything of :class:`Policy` holds; without a goal it gets the null goal."""

    def __init__(self, config: PolicyConfig, goal_size: int = GOAL_SIZE) -> None:
        super().__init__(config)
        self.goal_size = goal_size
        self.net.mineclip_embed_linear = Linear(goal_size, config.hidden)

    @classmethod
    def of(
        cls, policy: Policy, goal_size: int = GOAL_SIZE, start: Start = "unchanged", length: float | None = None
    ) -> GoalPolicy:
        """A policy that can be taught goals, from a copy of any other, on the same device and of the same type.

        start: ``unchanged`` begins the new layer at zero, so that at first no goal changes anything; ``as_published`` at
        torch's random values. length: of a goal, about; its layer then learns as fast as if the goal's numbers were about 1
        each. What is as long as 1 in a hundred dimensions otherwise hardly changes the policy before the training ends.
        """
        with torch.device("meta"):
            made = cls(policy.config, goal_size).to(policy.dtype)
        made.net.mineclip_embed_linear = _new_layer(policy.config.hidden, goal_size, start)
        load_into(
            made, {name: value.clone() for name, value in policy.state_dict().items()}, "the policy", [GOAL_LAYER]
        )
        if length is not None:
            made.faster = {f"{GOAL_LAYER}weight": math.sqrt(goal_size) / length}
        return made.to(policy.device, policy.dtype).train(policy.training)

    def with_goals(self, features_BTD: Tensor, goals_BTG: Tensor | None = None) -> Tensor:
        """Features of frames, each with its goal in it; (B, T, D). goals: (B, 1, G) for one in all frames, None for none."""
        if goals_BTG is None:
            goals_BTG = features_BTD.new_zeros(1, 1, self.goal_size)
        if goals_BTG.ndim != 3 or goals_BTG.shape[-1] != self.goal_size:
            raise ValueError(
                f"expected goals (streams, frames, {self.goal_size}) for features {tuple(features_BTD.shape)}, got "
                f"{tuple(goals_BTG.shape)}"
            )
        layer: nn.Module = self.net.mineclip_embed_linear  # type: ignore[assignment]
        out: Tensor = features_BTD + layer(goals_BTG.to(features_BTD.dtype))
        return out

    def forward(
        self,
        images_BTHWC: Tensor,
        memory: Memory,
        first_BT: Tensor | None = None,
        motion_BTChw: Tensor | None = None,
        goals_BTG: Tensor | None = None,
    ) -> tuple[PolicyOutput, Memory]:
        """As :meth:`Policy.forward`; goals as in :meth:`with_goals`."""
        batch, frames = images_BTHWC.shape[:2]
        if first_BT is None:
            first_BT = torch.zeros(batch, frames, dtype=torch.bool, device=images_BTHWC.device)
        motion = None if motion_BTChw is None else motion_BTChw.flatten(0, 1)
        features = self.frame_features(images_BTHWC.flatten(0, 1), motion).view(batch, frames, -1)
        latents, memory = self.latents(self.with_goals(features, goals_BTG), memory, first_BT)
        return self.heads(latents), memory


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Log-probabilities with the goal and without, of one head -> numbers of the same shape to draw from.

    ``(1 + scale) * conditional - scale * unconditional``, of log-probabilities that the model's temperature has divided, as
    published: 0 plays the conditional policy; the paper takes 6 for texts and 7 for videos. They are *not* normalised, and
    drawing needs no more; ``log_softmax`` makes log-probabilities of them.
    """
    return (1 + scale) * conditional - scale * unconditional


def _new_layer(hidden: int, goal_size: int, start: Start) -> Linear:
    if start not in ("unchanged", "as_published"):
        raise ValueError(f"start is {start!r}; expected 'unchanged' or 'as_published'")
    layer = Linear(goal_size, hidden)
    if start == "unchanged":
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer


def plain_names(tensors: Mapping[str, Tensor], source: Path | str) -> dict[str, Tensor]:
    """The same tensors under the names of the published weights, whatever stands before all of them: nothing, as released, or
    how a training wrapped the policy, such as ``module.policy.`` or ``_orig_mod.``.

    The published loader cuts off one of a few prefixes anywhere in a name and skips what then fits nothing: weights that its
    own training on one device wrote load as none at all, in silence. Here that is a ValueError.
    """
    found = [name.removesuffix(LANDMARK) for name in tensors if name.endswith(LANDMARK)]
    prefix = next((prefix for prefix in found if not prefix or prefix.endswith(".")), None)
    if prefix is None:
        raise ValueError(
            f"{source} holds no policy: expected {LANDMARK}, perhaps with a prefix that all names have; found {len(tensors)} "
            f"tensors, such as {', '.join(sorted(tensors)[:3])}"
        )
    other = [name for name in tensors if not name.startswith(prefix)]
    if other:
        raise ValueError(f"{source}: expected all names to begin with {prefix!r}, found {', '.join(other[:3])}")
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items()}


def load_goal_policy(
    source: str | Path,
    weights: Path | None = None,
    *,
    plain: Start | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> GoalPolicy:
    """STEVE-1 as published, ``load_goal_policy("2x.model", Path("steve1.weights"))``, or a GoalPolicy that save_policy wrote.

    plain: accept a policy without goals (to begin training from), and begin the goal's layer so: see :meth:`GoalPolicy.of`.
    A value head may be missing as in :func:`prior.checkpoint.load_policy`. Raises ValueError, listing them, where other
    tensors are missing, unexpected or of another shape.
    """
    files = find_model(source, weights)
    tensors = plain_names(read_weights(files.weights), files.weights)
    layer = tensors.get(f"{GOAL_LAYER}weight")
    size = layer.shape[-1] if layer is not None and layer.ndim == 2 else GOAL_SIZE
    with torch.device("meta"):
        policy = GoalPolicy(read_config(files, PolicyConfig, policy_config), size).to(dtype)
    harmless = list(HARMLESS)
    if not any(name.startswith("value_head.") for name in tensors):
        policy.value_head = ValueHead(policy.config.hidden).to(dtype)
    if plain is not None and not any(name.startswith(GOAL_LAYER) for name in tensors):
        policy.net.mineclip_embed_linear = _new_layer(policy.config.hidden, size, plain).to(dtype)
        harmless.append(GOAL_LAYER)
    report = load_into(policy, tensors, files.weights, harmless)
    if report.without_values:
        raise ValueError(
            f"{files.weights} has only a part of the value head: {', '.join(report.without_values)} missing"
        )
    return policy.to(device).eval()
