"""How a training run takes its devices."""

from __future__ import annotations

import pytest

from earzip.errors import UsageError
from earzip.training.processes import make_accelerator


def test_a_gpu_without_bfloat16_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_an_old_gpu(**_options: object) -> None:
        raise ValueError("bf16 mixed precision requires PyTorch >= 1.10 and a supported device.")

    monkeypatch.setattr("earzip.training.processes.Accelerator", of_an_old_gpu)
    with pytest.raises(UsageError, match=r"cannot train in bfloat16: .* a supported device"):
        make_accelerator("bfloat16")
    with pytest.raises(ValueError, match="bf16"):  # there it is no such thing
        make_accelerator("float32")
