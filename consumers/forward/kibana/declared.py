"""The dashboards that each pipeline has: which panels, of which documents, side by side with which."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from headrace.consumers.forward.kibana.aggs import Bucket, Count, Latest, Mean, Over, Steps, Terms
from headrace.consumers.forward.kibana.board import Board, Control
from headrace.consumers.forward.kibana.panels import Chart, Filter, Rows
from headrace.declare.pipeline import Pipeline

MAJOR_SHIFT = 0.25
"""Population stability index from which a feature is said to have moved for good."""
FIGURES = {
    "auc": "AUC",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "calibration_error": "Calibration error",
    "label_rate": "Label rate",
    "labels_missing": "Labels still missing",
}
"""Name of a metric -> title of its panel."""
RATES = {
    "positive_rate": "Positive rate",
    "true_positive_rate": "True positive rate",
    "false_positive_rate": "False positive rate",
    "log_loss": "Log loss",
}
"""Those that are looked at group by group."""
MODEL = Terms("model_id", "Model", 20)
ROUTE = Terms("route", "Route", 4)
"""Three, and of what is no part of a policy none."""
NAME = Terms("name", "Figure", 100)
LETTER = Filter("dead letters", {"term": {"@record": "headrace.DeadLetter"}}, ("@record",))
RETRY = Filter("retries", {"term": {"@record": "headrace.DeadRetry"}}, ("@record",))
OF_ALL = Filter("all groups together", {"term": {"group": ""}}, ("group",))
OF_GROUPS = Filter("group by group", {"bool": {"must_not": [{"term": {"group": ""}}]}}, ("group",))


BY_ROUTE = Chart(
    "by-route", "Predictions by route", ("predictions",), "histogram", (Count("Predictions"),), (Over(), ROUTE)
)
BY_MODEL = Chart(
    "by-model", "Predictions by model", ("predictions",), "histogram", (Count("Predictions"),), (Over(), MODEL)
)
MEAN_SCORE = Chart(
    "mean-score", "Mean score by model", ("predictions",), "line", (Mean("outputs", "Mean score"),), (Over(), MODEL)
)
SCORES = Chart(
    "scores",
    "How scores are spread",
    ("predictions",),
    "histogram",
    (Count("Predictions"),),
    (Steps("outputs", "Score", 0.05), MODEL),
)
LATEST = Rows(
    "latest",
    "Latest predictions",
    ("predictions",),
    ("id", "key", "route", "model_id", "outputs", "partition", "offset", "marker_offset"),
)
CALIBRATION = Chart(
    "calibration",
    "Mean score and mean label, where the label is known",
    ("outcomes",),
    "line",
    (Mean("outputs", "Mean score"), Mean("label", "Mean label")),
    (Over(), MODEL, ROUTE),
)
DECISIONS = Rows(
    "decisions",
    "Gate results, approvals, rejections, activations and roll backs",
    ("decisions",),
    (
        "@record",
        "model_id",
        "gate",
        "passed",
        "mode",
        "by",
        "summary",
        "note",
        "reason",
        "activation_id",
        "order_offset",
        "@offset",
    ),
)


def overview(pipeline: Pipeline) -> Board:
    by_group = tuple(
        Chart(
            f"group-{group}",
            f"Predictions by {group}",
            ("predictions",),
            "table",
            (Count("Predictions"), Mean("outputs", "Mean score")),
            (Terms(f"features.{group}", group, 20, most_first=True),),
        )
        for group in pipeline.groups
    )
    return Board(
        "overview",
        "predictions",
        "What was scored, by which route and model, with what result.",
        ((BY_ROUTE, BY_MODEL), (MEAN_SCORE, SCORES), *_pairs(by_group), (LATEST,)),
    )


def model() -> Board:
    figures = Chart(
        "figures",
        "Figures of the last ten windows",
        ("metrics",),
        "table",
        (Latest("value", "Value"), Latest("count", "Records")),
        (Terms("window_end", "Window until", 10, descending=True), NAME, MODEL, ROUTE),
        (OF_ALL,),
    )
    return Board(
        "model",
        "one model",
        "Choose a model: what it scored, how well, and what was decided on it.",
        ((BY_ROUTE, MEAN_SCORE), (SCORES, CALIBRATION), (figures,), (DECISIONS,)),
        (Control("predictions", "model_id", "Model"), Control("predictions", "route", "Route")),
    )


def drift(pipeline: Pipeline) -> Board:
    windows = Over("window_end", _interval(pipeline.drift.window), "Window until")
    value = (Latest("value", "Value"),)

    def features(name: str, title: str, line: float | None) -> Chart:
        where = Filter(f"figures {name}.*", {"prefix": {"name": f"{name}."}}, ("name",))
        return Chart(name, title, ("metrics",), "line", value, (windows, NAME, MODEL, ROUTE), (where, OF_ALL), line)

    def figure(name: str, panel: str, title: str, among: Filter, *groups: Terms) -> Chart:
        where = Filter(f"figure {name}", {"term": {"name": name}}, ("name",))
        buckets: tuple[Bucket, ...] = (windows, *groups, MODEL, ROUTE)
        return Chart(panel.replace("_", "-"), title, ("metrics",), "line", value, buckets, (where, among))

    quality = tuple(figure(n, n, f"{title} by model", OF_ALL) for n, title in FIGURES.items())
    rates = tuple(
        figure(n, f"{n}_by_group", f"{title} by group", OF_GROUPS, Terms("group", "Group", 30))
        for n, title in RATES.items()
    )
    groups = Chart(
        "groups",
        "Figures by group, the last four windows",
        ("metrics",),
        "table",
        (*value, Latest("count", "Records")),
        (Terms("window_end", "Window until", 4, descending=True), NAME, Terms("group", "Group", 200), MODEL, ROUTE),
        (OF_GROUPS,),
    )
    return Board(
        "drift",
        "drift and quality",
        "Whether features, errors or groups move, window by window. Of a window that was measured again, the last "
        "version counts.",
        (
            (
                features("psi", f"Population stability index by feature ({MAJOR_SHIFT:g}: major shift)", MAJOR_SHIFT),
                features("ks", "Kolmogorov-Smirnov statistic by feature", None),
            ),
            *_pairs(quality),
            *_pairs(rates),
            (groups,),
        ),
        (Control("metrics", "model_id", "Model"), Control("metrics", "name", "Figure")),
    )


def dead() -> Board:
    by_stage, by_code = (
        Chart(
            f"dead-by-{name}",
            f"Dead letters by {name}",
            ("dead",),
            "histogram",
            (Count("Dead letters"),),
            (Over(label="Written"), Terms(name, name.capitalize(), 50)),
            (LETTER,),
        )
        for name in ("stage", "code")
    )
    letters = Rows(
        "dead",
        "Dead letters and why",
        ("dead",),
        ("stage", "code", "reason", "topic", "partition", "offset", "@partition", "@offset"),
        (LETTER,),
    )
    retries = Rows(
        "retries",
        "Dead letters whose record was put back",
        ("dead",),
        ("by", "letter_partition", "letter_offset", "topic", "partition", "offset"),
        (RETRY,),
    )
    return Board(
        "dead",
        "dead letters",
        "What gave no result, at which stage, and why.",
        ((by_stage, by_code), (letters,), (retries,)),
        (Control("dead", "stage", "Stage"), Control("dead", "code", "Code")),
    )


def decisions() -> Board:
    kinds = Chart(
        "decisions-by-kind",
        "Decisions by kind",
        ("decisions",),
        "histogram",
        (Count("Decisions"),),
        (Over(label="Written"), Terms("@record", "Kind", 10)),
    )
    return Board("decisions", "decisions", "Who decided what, when, and on which evidence.", ((kinds,), (DECISIONS,)))


def lookup() -> Board:
    found = Rows(
        "lookup",
        "Predictions, outcomes and dead letters",
        ("predictions", "outcomes", "dead"),
        (
            "@topic",
            "id",
            "route",
            "model_id",
            "outputs",
            "label",
            "stage",
            "code",
            "reason",
            "topic",
            "partition",
            "offset",
            "@id",
        ),
    )
    return Board(
        "lookup",
        "one id",
        'Write id: "..." above to see its predictions and outcomes. Their partition and offset are those of the '
        "features record: topic, partition and offset of a dead letter say what it was made of.",
        ((found,),),
        (Control("predictions", "id", "Id"),),
    )


def _interval(span: timedelta) -> str:
    """A span as Kibana says it, in a unit of which it has more than one: one day or week would follow the calendar."""
    seconds = round(span.total_seconds())
    for size, unit in ((3600, "h"), (60, "m")):
        if seconds % size == 0 and seconds > size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _pairs(charts: tuple[Chart, ...]) -> Iterator[tuple[Chart, ...]]:
    """Two side by side."""
    return (charts[i : i + 2] for i in range(0, len(charts), 2))
