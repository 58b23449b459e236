"""Which earlier policy may rule again, and what rules in the place of a model that is rejected: state in, order out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.errors import ConfigError
from headrace.governance.catalog import Governance
from headrace.schema.records import Activated, Policy, Rejection, RolledBack

PREVIOUS = "previous"
"""The word for the latest activation that may be gone back to."""


@dataclass(frozen=True)
class Ruling:
    """A policy that rules, or will once the rollback that was ordered is carried out.

    Attributes:
        policy: it.
        activation: id of the activation that it is of.
        without: models of that activation's policy that were left out.
    """

    policy: Policy
    activation: str
    without: tuple[str, ...] = ()

    @classmethod
    def of(cls, state: Governance) -> Ruling | None:
        """What rules, or will by the rollback that is carried out next; None: nothing does."""
        for order, policy in state.next_policies():
            if isinstance(order, RolledBack):
                return cls(policy, order.activation_id, tuple(order.without))
        now = state.in_force
        return None if now is None else cls(now.policy, now.activation_id)


def going_back(state: Governance, to: str) -> Activated:
    """The activation to go back to: the one that starts with ``to``, or the latest that may be gone back to.

    Raises:
        ConfigError: there is none, or one of its models is rejected.
    """
    if to in ("", PREVIOUS):
        found = next(state.earlier(), None)
        if found is None:
            raise ConfigError(f"there is no earlier policy to go back to{_of_rejected(state)}")
        return found
    named = [a for a in state.activations.values() if a.activation_id.startswith(to)]
    if len(named) != 1:
        known = ", ".join(state.activations) or "none"
        raise ConfigError(f"no one activation starts with {to!r}; there were: {known}")
    if why := rejected_line(state, named[0].policy):
        raise ConfigError(f"activation {named[0].activation_id} cannot come back: {why}; {possible(state)}")
    return named[0]


def replacement(state: Governance, rejection: Rejection, instead: str) -> RolledBack | None:
    """The order that replaces the policy in force where a model of it is rejected; None: the model does not rule.

    Args:
        state: the decisions before the rejection; the rejection is folded in.
        rejection: of a model.
        instead: an activation, ``previous``, or nothing: the policy in force without the model, where it is not the
            champion.

    Raises:
        ConfigError: it has to be said what rules instead, it cannot rule, or nothing is to be replaced.
    """
    ruling = Ruling.of(state)
    state.take(-1, rejection)
    model, short = rejection.model_id, rejection.model_id[:12]
    if ruling is None or model not in ruling.policy.models:
        if instead:
            raise ConfigError(
                f"model {short} does not rule, nothing takes its place: leave out what is to rule instead"
            )
        return None
    out = list(ruling.without)
    if instead:
        activation = going_back(state, instead).activation_id
        out = []
    elif ruling.policy.champion in state.rejected:
        raise ConfigError(f"model {short} is the champion: say what rules instead; {possible(state)}")
    else:
        activation = ruling.activation
        out += state.rejected_in(ruling.policy)
    return RolledBack(
        activation_id=activation, without=out, by=rejection.by, reason=f"model {short} is rejected: {rejection.reason}"
    )


def rejected_line(state: Governance, policy: Policy) -> str:
    """Which model of a policy is rejected, and why; empty: none is."""
    rejected = state.rejected_in(policy)
    return f"model {rejected[0][:12]} is rejected: {state.rejected[rejected[0]].reason}" if rejected else ""


def possible(state: Governance) -> str:
    """The activations that may rule again, in words."""
    found = list(state.earlier())
    if not found:
        return "no earlier activation can: approve another model first (`headrace models approve`)"
    return f"possible are {PREVIOUS} or an activation: {', '.join(map(activation_line, found))}"


def activation_line(activated: Activated) -> str:
    """An activation and who answers under it: ``a1b2 (3c4d 90 %, 5e6f 10 %)``."""
    policy = activated.policy
    total = sum(r.weight for r in policy.routes)
    answers = [f"{r.model_id[:12]} {100 * r.weight / total:.0f} %" for r in policy.routes]
    return f"{activated.activation_id} ({', '.join([*answers, *_shadows(policy.shadows)])})"


def _shadows(models: Sequence[str]) -> list[str]:
    return [f"{m[:12]} as a shadow" for m in models]


def _of_rejected(state: Governance) -> str:
    gone = {m[:12] for a in state.activations.values() for m in state.rejected_in(a.policy)}
    return f" whose models are not rejected (rejected: {', '.join(sorted(gone))})" if gone else ""
