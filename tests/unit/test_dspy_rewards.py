"""What DSPy's metrics give is a reward: of dspy's own types, of numpy's, and whatever else a metric returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
from dspy.utils import DummyLM

from agentmon.publish.dspy import AgentmonCallback
from agentmon.publish.publisher import AgentStreamingPublisher
from agentmon.publish.shell import given_reward
from agentmon.settings import Settings


class _Raises:
    @property
    def score(self) -> float:
        raise RuntimeError("no score today")


def learned(folder: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> list[dict[str, Any]]:
    """What a callback hands to its publisher while `run(callback)` is at work; the filter takes it, Kafka is not asked."""
    monkeypatch.setenv("AGENTMON_HOME", str(folder / "home"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:1")
    seen: list[dict[str, Any]] = []

    def keep(topic: str, message: dict[str, Any]) -> bool:
        if topic == "agent.learning":
            seen.append(message)
        return False

    with AgentStreamingPublisher(folder, settings=Settings.from_env(), keep=keep, reports=False) as publisher:
        run(AgentmonCallback(publisher))
    return seen


@pytest.mark.parametrize(
    "of",
    [
        float,
        bool,
        int,
        np.bool_,
        np.float32,
        lambda good: dspy.Prediction(score=float(good), feedback="because"),
        lambda good: dspy.Prediction(score=good),
        lambda good: {"score": float(good), "feedback": "because"},
        lambda good: {"score": np.bool_(good)},
    ],
    ids=[
        "float",
        "bool",
        "int",
        "numpy bool",
        "numpy float",
        "prediction",
        "prediction of bool",
        "dict",
        "dict of numpy",
    ],
)
def test_every_kind_of_metric_gives_a_reward_an_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: Any
) -> None:
    """The end of an evaluation as dspy itself hands it over."""
    devset = [dspy.Example(question=f"q{n}", answer=a).with_inputs("question") for n, a in enumerate("yyyn")]
    results = [(example, dspy.Prediction(answer="y"), of(example.answer == "y")) for example in devset]

    def run(callback: AgentmonCallback) -> None:
        evaluate = dspy.Evaluate(devset=devset, metric=of)
        callback.on_evaluate_start("call", evaluate, {})
        callback.on_evaluate_end("call", dspy.evaluate.EvaluationResult(75.0, results))

    *rewards, progress = learned(tmp_path, monkeypatch, run)
    assert [m["reward"] for m in rewards] == [1.0, 1.0, 1.0, 0.0]
    assert [m["data"]["example"] for m in rewards] == [0, 1, 2, 3]
    assert progress["type"] == "learning_progress"
    assert (progress["data"]["total_events"], progress["data"]["avg_reward"]) == (4, 0.75)


@pytest.mark.parametrize("kind", [bool, lambda good: dspy.Prediction(score=float(good), feedback="because")])
def test_a_real_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    devset = [dspy.Example(question=f"q{n}", answer=a).with_inputs("question") for n, a in enumerate("yyyn")]

    def metric(example: Any, prediction: Any, trace: Any = None) -> Any:
        return kind(example.answer == prediction.answer)

    def run(callback: AgentmonCallback) -> None:
        with dspy.context(lm=DummyLM([{"answer": "y"}] * 4), callbacks=[callback]):
            evaluate = dspy.Evaluate(devset=devset, metric=metric, num_threads=1, display_progress=False)
            assert evaluate(dspy.Predict("question -> answer")).score == 75.0

    *rewards, progress = learned(tmp_path, monkeypatch, run)
    assert [m["reward"] for m in rewards] == [1.0, 1.0, 1.0, 0.0]
    assert progress["data"]["metric"] == "metric"


def test_what_is_no_score_is_left_out_and_the_others_keep_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd: list[Any] = [
        None, float("nan"), "good", dspy.Prediction(), dspy.Prediction(score=None), {}, [1], object(), _Raises(),
        np.array([1.0, 2.0]), dspy.Prediction(score="0.5"),
    ]  # fmt: skip
    results = [(dspy.Example(), dspy.Prediction(), score) for score in [*odd, True]]

    def run(callback: AgentmonCallback) -> None:
        callback.on_evaluate_end("call", dspy.evaluate.EvaluationResult(0.0, results))

    *rewards, progress = learned(tmp_path, monkeypatch, run)
    assert [(m["reward"], m["data"]["example"]) for m in rewards] == [(0.5, 10), (1.0, 11)]
    assert progress["data"]["avg_reward"] == 0.75


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[("1", 1.0), ("-0.5", -0.5), ("true", 1.0), ("False", 0.0), ('{"score": 0.5}', 0.5), ('{"score":true}', 1.0)],
        *[(text, None) for text in ("nan", "inf", "good", "", "{}", '{"score": 1} x', "[1]", "1,5", "1e400")],
    ],
)
def test_feedback_takes_what_a_person_types(text: str, expected: float | None) -> None:
    assert given_reward(text) == expected
