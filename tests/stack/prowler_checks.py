"""Runs checks of Prowler. Prints the failed users of each as JSON, or the account for its settings.

It does not use Prowler's command line, which needs the packages of every cloud.

usage: prowler_checks.py CHECK…
"""

import json
import re
import sys
from importlib import import_module

from prowler.providers.aws.aws_provider import AwsProvider
from prowler.providers.common.models import Audit_Metadata
from prowler.providers.common.provider import Provider


def failing(check):
    path = f"prowler.providers.aws.services.iam.{check}.{check}"
    found = getattr(import_module(path), check)().execute()
    # A check that found nothing to look at has not passed.
    assert found, check
    # Some also name the user's key or policy.
    names = {re.sub(r"(/.*|-access-key-\d)$", "", f.resource_id) for f in found if f.status == "FAIL"}
    return sorted(names)


checks = sys.argv[1:]
provider = AwsProvider(regions={"us-east-1"})
provider.audit_metadata = Audit_Metadata(
    services_scanned=0, expected_checks=checks, completed_checks=0, audit_progress=0
)
Provider.set_global_provider(provider)
print(json.dumps({check: failing(check) for check in checks}))
