"""The steps of ``.ci/run`` by name: ``nox -s lint``. Their commands stand there, once."""

import nox

nox.options.sessions = ["tests", "lint"]
nox.options.default_venv_backend = "none"  # .ci/run makes the environments


def _run(session: nox.Session) -> None:
    session.run(".ci/run", session.name, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Make .venv-dev and run the tests, by the README's command."""
    _run(session)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and spelling, in .venv-dev."""
    _run(session)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the built wheel."""
    _run(session)


@nox.session
def smoke(session: nox.Session) -> None:
    """Run the smoke tests against the built wheel."""
    _run(session)
