"""What people decide, at its edges: rejected models stay out, rollbacks go first, each experiment draws its own ids."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from headrace.cli import decide
from headrace.errors import ConfigError, TransactionAborted
from headrace.governance.decisions import (
    order_rejection,
    order_rollback,
    to_be_replaced,
)
from headrace.governance.policy import answering
from headrace.query.audit.governed import decided
from headrace.query.audit.report import Report
from headrace.query.models import model_views
from headrace.schema.records import Rejection, RolledBack
from tests.unit.governed import Court
from tests.unit.loops import turn, until


@pytest.fixture
def court() -> Iterator[Court]:
    made = Court()
    made.judged()
    yield made
    made.loop.stop()
    made.loop.run()


def audited(court: Court) -> list[str]:
    """What the audit says of the decisions."""
    report = Report()
    decided(report, "decisions", court.topics.read_control("decisions"))
    return [v.what for v in report.violations]


def view(court: Court, model: int) -> tuple[str, str]:
    """State and detail of a model, as tables have them."""
    found = {v.id: v for v in model_views(court.topics)}[court.ids[model]]
    return found.state, found.detail


def test_a_rollback_passes_over_policies_of_rejected_models(court: Court) -> None:
    first = court.rules(0)
    second = court.rules(1)
    court.rules(2)
    order_rejection(court.topics, court.ids[1], "bob", "unfair")
    assert order_rollback(court.topics, "cy", "worse").activation_id == first
    court.carried_out(court.order)
    assert court.in_force == [(court.ids[0], 100)]
    with pytest.raises(
        ConfigError, match=f"activation {second} cannot come back: model .* is rejected: unfair; possible"
    ):
        order_rollback(court.topics, "cy", "back", second)
    assert audited(court) == []


def test_a_rollback_that_only_a_rejected_model_could_follow_is_refused(court: Court) -> None:
    court.rules(0)
    court.rules(1)
    order_rejection(court.topics, court.ids[0], "bob", "unfair")
    gone = f"no earlier policy to go back to whose models are not rejected \\(rejected: {court.ids[0][:12]}\\)"
    with pytest.raises(ConfigError, match=gone):
        order_rollback(court.topics, "cy", "worse")


def test_a_rejection_between_a_rollback_and_its_carrying_out_has_it_refused(court: Court) -> None:
    first = court.rules(0)
    court.rules(1)
    order = court.decide(
        RolledBack(activation_id=first, by="cy", reason="worse"),
        Rejection(model_id=court.ids[0], by="bob", reason="unfair"),
    )[0]
    assert court.refused(order) == f"model {court.ids[0][:12]} is rejected: unfair"
    assert court.in_force == [(court.ids[1], 100)]
    assert audited(court) == []


def test_a_rejection_that_the_group_has_not_brought_yet_counts(court: Court) -> None:
    """It comes behind the order, in the moment in which govern is about to carry that out."""
    first = court.rules(0)
    court.rules(1)
    court.workers = {"infer-0"}
    court.loaded("infer-0", 1)
    (order,) = court.decide(RolledBack(activation_id=first, by="cy", reason="worse"))
    turn(court.loop, times=20)
    assert order not in court.state.refused
    court.loop._group.pause([court.topics.tp("decisions")])  # the group brings no more of them
    court.decide(Rejection(model_id=court.ids[0], by="bob", reason="unfair"))
    court.workers = set()
    assert court.refused(order) == f"model {court.ids[0][:12]} is rejected: unfair"


def test_the_champion_is_not_rejected_before_it_is_said_what_rules_instead(court: Court) -> None:
    first = court.rules(0)
    court.rules(1)
    possible = (
        f"say what rules instead; possible are previous or an activation: {first} \\({court.ids[0][:12]} 100 %\\)"
    )
    with pytest.raises(ConfigError, match=possible):
        order_rejection(court.topics, court.ids[1], "bob", "unfair")
    assert court.state.rejected == {}
    choices = to_be_replaced(court.topics, court.ids[1])
    assert choices is not None
    assert [a.activation_id for a in choices] == [first]
    assert [to_be_replaced(court.topics, court.ids[m]) for m in (0, 2)] == [None, None]


def test_where_nothing_else_can_rule_a_rejection_of_the_champion_says_so(court: Court) -> None:
    court.rules(0)
    for instead in ("", "previous"):
        with pytest.raises(ConfigError, match=r"no earlier (activation|policy)"):
            order_rejection(court.topics, court.ids[0], "bob", "unfair", instead)
    assert court.state.rejected == {}


def test_a_model_that_does_not_rule_needs_no_replacement(court: Court) -> None:
    court.rules(0)
    with pytest.raises(ConfigError, match="does not rule, nothing takes its place"):
        order_rejection(court.topics, court.ids[1], "bob", "unfair", "previous")
    assert order_rejection(court.topics, court.ids[1], "bob", "unfair").instead is None
    assert view(court, 1) == ("rejected", "unfair")


@pytest.mark.parametrize("instead", ["previous", "activation"])
def test_a_rejected_champion_is_replaced_by_the_order_that_came_with_it(court: Court, instead: str) -> None:
    first = court.rules(0)
    court.rules(1)
    done = order_rejection(
        court.topics, court.ids[1], "bob", "unfair", first[:6] if instead == "activation" else instead
    )
    assert done.instead is not None
    assert done.instead.activation_id == first
    still = "it still answers as the champion, until the order of bob is carried out by `headrace run govern`"
    assert view(court, 1) == ("rejected", f"unfair; {still}")
    assert audited(court) == []
    court.carried_out(court.order)
    assert court.in_force == [(court.ids[0], 100)]
    assert [view(court, m) for m in (0, 1)] == [("champion", ""), ("rejected", "unfair")]
    assert audited(court) == []


@pytest.mark.parametrize("part", ["candidate", "shadow"])
def test_the_policy_without_a_rejected_candidate_or_shadow_rules_on(court: Court, part: str) -> None:
    court.rules(0)
    court.rules(1, share=20) if part == "candidate" else court.rules(0, shadows=[court.ids[1]])
    order_rejection(court.topics, court.ids[1], "bob", "unfair")
    court.carried_out(court.order)
    assert court.in_force == [(court.ids[0], 100)]
    assert court.policy.shadows == []
    assert audited(court) == []


def test_a_rejected_replacement_asks_for_another_one(court: Court) -> None:
    first = court.rules(0)
    second = court.rules(1)
    court.rules(2)
    court.workers = {"infer-0"}
    order_rejection(court.topics, court.ids[2], "bob", "unfair", second)
    with pytest.raises(ConfigError, match="is the champion: say what rules instead"):
        order_rejection(court.topics, court.ids[1], "bob", "unfair too")
    done = order_rejection(court.topics, court.ids[1], "bob", "unfair too", "previous")
    assert done.instead is not None
    assert done.instead.activation_id == first
    court.workers = set()
    court.carried_out(court.order)
    assert court.in_force == [(court.ids[0], 100)]


def test_a_rejected_model_that_rules_on_is_told_by_tables_and_audit(court: Court) -> None:
    court.rules(0)
    (at,) = court.decide(Rejection(model_id=court.ids[0], by="bob", reason="unfair"))
    nothing = "nothing is ordered in its place: `headrace models rollback`"
    assert view(court, 0) == ("rejected", f"unfair; it still answers as the champion, {nothing}")
    report = Report()
    decided(report, "decisions", court.topics.read_control("decisions"))
    assert [(v.rule, v.subject, v.offset) for v in report.violations] == [("evidence", "rejections", at)]
    until(lambda: court.ids[0] in court.state.rejected, court.loop)
    court.log.add_partitions(court.topics.topic("features"), 3)
    turn(court.loop, times=20)
    assert len(court.state.activations) == 1, "a rejected model was put in force in a partition added"
    court.approve(1)
    assert audited(court) == []
    court.carried_out(court.order)
    assert court.state.timeline.marked_partitions() == {0, 1, 2}


def test_a_rollback_goes_ahead_of_an_approval_that_waits_for_workers(court: Court) -> None:
    first = court.rules(0)
    court.rules(1)
    court.workers = {"infer-0"}
    court.loaded("infer-0", 0, 1)
    waiting = court.approve(2)
    turn(court.loop, times=20)
    assert len(court.state.activations) == 2, "the approval did not wait"
    order_rollback(court.topics, "cy", "on fire", first)
    court.carried_out(court.order)
    assert court.in_force == [(court.ids[0], 100)]
    overtaken = "overtaken by the rollback ordered by cy: order it anew if it is still wanted"
    assert {o: r.reason for o, r in court.state.refused.items()} == {waiting: overtaken}
    court.loaded("infer-0", 2)
    turn(court.loop, times=20)
    assert court.in_force == [(court.ids[0], 100)]
    court.carried_out(court.approve(2))
    assert audited(court) == []


def test_the_latest_of_two_rollbacks_is_carried_out(court: Court) -> None:
    first, second = court.rules(0), court.rules(1)
    court.rules(2)
    one, two = court.decide(*(RolledBack(activation_id=a, by="cy", reason="") for a in (first, second)))
    court.carried_out(two)
    assert set(court.state.refused) == {one}
    assert court.in_force == [(court.ids[1], 100)]


def test_a_rollback_that_is_refused_overtakes_nothing(court: Court) -> None:
    court.rules(0)
    court.workers = {"infer-0"}
    court.loaded("infer-0", 0)
    waiting = court.approve(2)
    (order,) = court.decide(RolledBack(activation_id="there was none", by="cy", reason="on fire"))
    court.refused(order)
    court.loaded("infer-0", 2)
    court.carried_out(waiting)
    assert set(court.state.refused) == {order}


def test_an_approval_with_a_share_waits_for_the_rollback_that_names_its_champion(court: Court) -> None:
    first = court.rules(0)
    court.rules(1)
    court.workers = {"infer-0"}
    order_rollback(court.topics, "cy", "on fire", first)
    with pytest.raises(ConfigError, match="the rollback ordered by cy is not in force yet"):
        court.approve(2, share=10)


def test_each_experiment_draws_its_own_ids_and_another_share_keeps_them(court: Court) -> None:
    ids = [f"id{i}" for i in range(4000)]
    court.rules(0)
    drawn = []
    for share in (10, 30):
        court.rules(1, share=share)
        drawn.append(court.policy)
    court.rules(0)
    court.rules(2, share=10)
    drawn.append(court.policy)
    court.rules(0)
    court.rules(1, share=10)
    drawn.append(court.policy)
    first, more, other, again = (set(np.flatnonzero(answering(policy, ids))) for policy in drawn)
    assert first < more
    for one in (other, again):
        assert len(first & one) < len(first) / 2, "two experiments fell on the same ids"
    assert len({p.salt for p in drawn}) == 3


def test_the_backlog_is_skipped_where_that_is_asked_for_and_refused_where_there_is_none(court: Court) -> None:
    court.rules(0, skip_backlog=True)
    with pytest.raises(ConfigError, match="there is no backlog to skip: since activation"):
        court.approve(1, skip_backlog=True)
    court.rules(1)
    assert [a.policy.backlog for a in court.state.activations.values()] == ["SKIP", "SCORE"]


@pytest.mark.parametrize("at", range(1, 11))
def test_gates_run_once_though_the_transaction_of_their_result_is_given_up(at: int) -> None:
    court = Court()
    until(lambda: court.loop.status.ready, court.loop)
    court.publish(0)

    def abort() -> None:
        raise TransactionAborted("scripted")

    court.log.script(at, abort)
    until(lambda: court.ids[0] in court.state.gates, court.loop)
    turn(court.loop, times=20)
    assert court.gates.started == [court.ids[0]]


def test_gates_at_work_outlive_a_rebalance_and_end_where_another_worker_has_them() -> None:
    court = Court()
    court.gates.ready = False
    court.publish(0)
    until(lambda: bool(court.gates.started), court.loop)
    gone = court.govern("a")  # named before the other: all that is not shared is its
    until(lambda: sorted(run.closed for run in court.gates.runs) == [False, True], court.loop, gone)
    gone.stop()
    gone.run()
    court.gates.ready = True
    until(lambda: court.ids[0] in court.state.gates, court.loop)


def test_gates_at_work_go_on_over_a_rebalance_that_brings_them_back() -> None:
    court = Court()
    court.gates.ready = False
    court.publish(0)
    until(lambda: bool(court.gates.started), court.loop)
    with court.log.lock:
        court.log.groups["govern.govern"].changed()
    turn(court.loop, times=20)
    court.gates.ready = True
    until(lambda: court.ids[0] in court.state.gates, court.loop)
    assert court.gates.started == [court.ids[0]]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_command_asks_what_rules_instead_on_a_terminal_and_refuses_elsewhere(
    court: Court, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer()
    app.command()(decide.reject)
    monkeypatch.setattr(decide, "opened", lambda *_: (court.topics, None))
    monkeypatch.setattr(decide, "on_a_terminal", lambda: terminal)
    first = court.rules(0)
    court.rules(1)
    arguments = ["govern", court.ids[1], "--why", "unfair", "--by", "bob"]
    done = CliRunner().invoke(app, arguments, input="previous\n")
    if not terminal:
        assert isinstance(done.exception, ConfigError)
        assert court.state.rejected == {}
        done = CliRunner().invoke(app, [*arguments, "--instead", "previous"])
    assert done.exit_code == 0, done.output
    assert f"in its place: the policy of activation {first}, ordered with it" in done.output
    assert (f"  {first} ({court.ids[0][:12]} 100 %)" in done.output) == terminal
    court.carried_out(court.order)
    assert court.in_force == [(court.ids[0], 100)]
