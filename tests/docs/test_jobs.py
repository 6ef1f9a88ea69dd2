"""What all recipes of docs/jobs have in common."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from earzip.cli.main import cli
from tests.docs.conftest import JOBS
from tests.docs.test_recipes import TASKS

RECIPES = ["accelerate-two-machines.sh", "earzip-cron.sh", "earzip.sbatch", "earzip.service"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_asks_for_options_that_there_are(recipe):
    commands = re.findall(r"^[^#\n]*\bcompress .*", (JOBS / recipe).read_text(), re.MULTILINE)
    assert len(commands) == 1
    asked = re.findall(r"--[a-z-]+", commands[0].partition("compress")[2])
    help_text = CliRunner().invoke(cli, ["compress", "--help"]).output
    assert {option for option in asked if not re.search(rf"{option}\b", help_text)} == set()


def test_the_page_names_every_recipe():
    page = (JOBS / "README.md").read_text()
    recipes = {
        *RECIPES, "earzip.timer", "object-stores.md", "ray.md", "skypilot-pool.yaml", *TASKS,
    }  # fmt: skip
    for recipe in recipes:
        assert f"({recipe})" in page
    assert {path.name for path in JOBS.iterdir()} == {*recipes, "README.md"}
