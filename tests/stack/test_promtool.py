"""promtool's opinion of the whole page, the exporter's own metrics included."""

import subprocess

import pytest
from harness import tool

# The names were asked for; everything else is as Prometheus's naming rules want it.
ALLOWED = {
    'iam_access_key_age_days use base unit "seconds" instead of "days"',
    'iam_unrotated_keys_total non-counter metrics should not have "_total" suffix',
}


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("source", ["demo", "exporter"])
def test_promtool_complains_of_two_names_only(request, source, encoding):
    page = request.getfixturevalue(source).page_bytes(encoding)
    assert b"\niam_exporter_build_info{" in page
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=page, capture_output=True, timeout=60
    )
    complaints = (done.stdout + done.stderr).decode().splitlines()
    assert sorted(complaints) == sorted(ALLOWED)
