"""The recipes of docs/jobs that only a cluster or a cloud can run: whether they would be understood."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from earzip.cli.main import cli
from tests.docs.conftest import JOBS

KUBERNETES = ["kubernetes-job.yaml", "kubernetes-cronjob.yaml"]
AWS_STOP_S = 30
"""From SIGTERM to SIGKILL, unless who runs the machines has set ECS_CONTAINER_STOP_TIMEOUT."""

TASKS = {
    "kubernetes-job.yaml": {"JOB_COMPLETION_INDEX": "7"},
    "kubernetes-cronjob.yaml": {"JOB_COMPLETION_INDEX": "3"},
    "aws-batch.json": {"AWS_BATCH_JOB_ARRAY_INDEX": "7", "AWS_BATCH_JOB_ARRAY_SIZE": "8"},
    "skypilot-job.yaml": {"SKYPILOT_JOB_RANK": "31", "SKYPILOT_NUM_JOBS": "32"},
}
"""What the last task of each recipe's array is told by its environment."""


def _parsed(recipe: str) -> Any:
    text = (JOBS / recipe).read_text()
    return json.loads(text) if recipe.endswith(".json") else yaml.safe_load(text)


def _job_of(recipe: str) -> Any:
    """Return what Kubernetes calls the spec of the job."""
    spec = _parsed(recipe)["spec"]
    return spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec


def _words(recipe: str) -> list[str]:
    """Return what a recipe tells earzip to do, word by word."""
    if recipe.startswith("kubernetes"):
        (container,) = _job_of(recipe)["template"]["spec"]["containers"]
        words: list[str] = container["args"]
    elif recipe == "aws-batch.json":
        words = _parsed(recipe)["containerProperties"]["command"]
    else:
        words = shlex.split(_parsed(recipe)["run"])[1:]
    return words


def _options(recipe: str) -> dict[str, Any]:
    """Return the options of a recipe's command line, as earzip itself reads them."""
    name, *words = _words(recipe)
    root = click.Context(cli)
    command = cli.get_command(root, name)
    assert command
    with command.make_context(name, list(words), parent=root) as context:
        return dict(context.params)


@pytest.mark.parametrize("recipe", TASKS)
def test_earzip_understands_the_command_line_of_each_task(recipe, monkeypatch):
    for name, value in TASKS[recipe].items():
        monkeypatch.setenv(name, value)
    options = _options(recipe)
    assert list(options["paths"]) == [Path("/srv/music")]
    assert options["output"] == Path("/srv/archive")
    last = int(next(iter(TASKS[recipe].values()))) + 1
    assert str(options["shard"]) == f"{last}/{last}"


@pytest.mark.parametrize("recipe", KUBERNETES)
def test_kubernetes_accepts_the_job(recipe):
    validate = pytest.importorskip("kubernetes_validate")
    validate.validate(_parsed(recipe), validate.latest_version(), strict=True)


@pytest.mark.parametrize("recipe", KUBERNETES)
def test_a_pod_has_a_shard_and_time_to_stop(recipe, monkeypatch):
    job = _job_of(recipe)
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    options = _options(recipe)
    assert (job["completionMode"], job["completions"]) == ("Indexed", options["shard"].count)
    pod = job["template"]["spec"]
    assert options["grace_s"] < pod["terminationGracePeriodSeconds"]
    assert pod["securityContext"]["runAsNonRoot"]
    mounts = {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}
    assert mounts["/srv/music"]["readOnly"]
    assert not mounts["/srv/archive"].get("readOnly")


@pytest.mark.parametrize("recipe", KUBERNETES)
def test_kubernetes_tries_again_what_may_pass(recipe):
    rules = _job_of(recipe)["podFailurePolicy"]["rules"]
    given_up = {code for rule in rules for code in rule.get("onExitCodes", {}).get("values", ())}
    assert given_up == {1, 2, 3, 4}  # and not 75, 130 and 137


def test_aws_batch_knows_what_the_definition_says():
    botocore = pytest.importorskip("botocore.session")
    validate = pytest.importorskip("botocore.validate")
    model = botocore.get_session().get_service_model("batch")
    shape = model.operation_model("RegisterJobDefinition").input_shape
    report = validate.ParamValidator().validate(_parsed("aws-batch.json"), shape)
    assert report.generate_report() == ""


def test_aws_batch_gives_time_to_stop_and_tries_again_what_may_pass(monkeypatch):
    for name, value in TASKS["aws-batch.json"].items():
        monkeypatch.setenv(name, value)
    assert _options("aws-batch.json")["grace_s"] < AWS_STOP_S
    rules = _parsed("aws-batch.json")["retryStrategy"]["evaluateOnExit"]
    again = {rule.get("onExitCode") for rule in rules if rule["action"] == "RETRY"}
    assert again == {"75", "137", None}
    assert rules[-1] == {"onReason": "*", "action": "EXIT"}  # the first rule that fits counts


def test_skypilot_runs_the_job_on_machines_like_those_of_the_pool():
    """By its documentation a pool runs nothing; its jobs set nothing up and ask for such a machine."""
    pool, job = _parsed("skypilot-pool.yaml"), _parsed("skypilot-job.yaml")
    assert set(pool) == {"pool", "resources", "workdir", "file_mounts", "setup"}
    assert set(job) == {"name", "resources", "run"}
    assert job["resources"] == pool["resources"]
    assert {*pool["file_mounts"]} == {"/srv/music", "/srv/archive"}
