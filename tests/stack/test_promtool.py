"""promtool's checks of whole pages."""

import subprocess

import pytest
from harness import ROOT, tool

# The requirements give the names iam_access_key_age_days and iam_unrotated_keys_total. The other ages have the unit of
# a key's age. All other names follow Prometheus's rules.
ALLOWED = {
    'iam_access_key_age_days use base unit "seconds" instead of "days"',
    'iam_owner_oldest_unrotated_age_days use base unit "seconds" instead of "days"',
    'iam_service_specific_credential_age_days use base unit "seconds" instead of "days"',
    'iam_unrotated_keys_total non-counter metrics should not have "_total" suffix',
}


def complaints(page):
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=page, capture_output=True, timeout=60
    )
    return sorted((done.stdout + done.stderr).decode().splitlines())


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("source", ["demo", "exporter"])
def test_promtool_complains_of_these_names_only(request, source, encoding):
    page = request.getfixturevalue(source).page_bytes(encoding)
    assert b"\niam_exporter_build_info{" in page
    assert complaints(page) == sorted(ALLOWED)


def test_promtool_complains_of_the_same_on_a_page_with_every_family():
    page = (ROOT / "tests/golden/page.txt").read_bytes()
    for family in [b"iam_access_key_exemption_end_timestamp_seconds", b"iam_user_tags"]:
        assert b"\n" + family + b"{" in page
    assert complaints(page) == sorted(ALLOWED)
