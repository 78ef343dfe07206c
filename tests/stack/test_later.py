"""Flags that files in deploy/ use before the exporter has them."""

import subprocess

import pytest
from harness import exporter_binary
from later import LATER


@pytest.mark.parametrize("flag", LATER)
def test_a_flag_of_later_is_not_there_yet(flag):
    command = [exporter_binary(), "check-config", flag]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60).stderr
    assert "unexpected argument" in said, f"remove {flag} from tests/stack/later.py"
