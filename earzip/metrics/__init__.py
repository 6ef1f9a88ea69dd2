"""What a restored track is judged by: measures published with the εar-VAE, and perceptual ones."""

from __future__ import annotations

from importlib.util import find_spec

from earzip.errors import UsageError

_PACKAGES = ("auraloss", "librosa", "matplotlib", "pyloudnorm", "scipy")


def require_eval() -> None:
    """Raise UsageError unless the packages of the extra ``eval`` are installed."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"measures need more packages ({', '.join(missing)}); "
            "in the clone of earzip: pip install '.[eval]'"
        )


def require_zimtohrli() -> None:
    """Raise UsageError unless the package zimtohrli is installed, which ``eval`` brings on x86-64."""
    if find_spec("zimtohrli") is None:
        raise UsageError("perceptual measures need one more package: pip install zimtohrli")
