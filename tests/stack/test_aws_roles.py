"""The templates in deploy/aws: AWS's linter accepts them, moto makes the roles, and the exporter runs with them.

moto does not check trust policies between accounts, so trust.py reads the ones that it stored.
"""

import ast
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import hcl2
import pytest
import yaml
from harness import ROOT, TEST_CREDENTIALS, Exporter, exporter_binary, exporter_environment
from moto_account import ACCOUNT, MotoAccount, enforced, reset
from policies import OF_ACCOUNT, OF_LIST, OF_ORGANIZATION, statements
from trust import Caller, allows, lets_in, listed

AWS = ROOT / "deploy/aws"
HUB, MEMBER = "iam-key-exporter-hub", "iam-key-exporter"
HUB_ARN = f"arn:aws:iam::{ACCOUNT}:role/{HUB}"
MEMBER_ARN = f"arn:aws:iam::210987654321:role/{MEMBER}"
# A request for a role in another account of the organization.
WITHIN = {"aws:PrincipalOrgID": "o-ours", "aws:ResourceOrgID": "o-ours"}
EXTERNAL_ID = "only-ours"
ISSUER = "oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE"
PLATFORMS = {"pod-identity": {}, "irsa": {"OidcProvider": ISSUER}, "ecs": {}, "ec2": {}}
# The policies for each choice of hub-role.yaml.
CHOICES = {
    "this": OF_ACCOUNT,
    "listed": (*OF_ACCOUNT, *OF_LIST),
    "organization": (*OF_ACCOUNT, *OF_ORGANIZATION),
}


# --- The stacks ---


def parameters(values):
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]


def make_stack(account, template, **values):
    """Makes a stack of the template in the account. Returns its outputs."""
    client = account.client("cloudformation", account.credentials)
    client.create_stack(
        StackName=template.stem,
        TemplateBody=template.read_text(),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=parameters(values),
    )
    [stack] = client.describe_stacks(StackName=template.stem)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@dataclass(frozen=True)
class Role:
    """A role of a stack."""

    account: str
    trust: dict
    policy: dict


def enforceable_role(account, name):
    """Reads the role, and stores its policy as JSON, which moto needs to enforce it."""
    of = {"RoleName": name, "PolicyName": "iam-key-exporter"}
    # For a stack's role, moto stores a Python value that still contains AWS::NoValue.
    policy = ast.literal_eval(account.iam.get_role_policy(**of)["PolicyDocument"])
    policy["Statement"] = [statement for statement in policy["Statement"] if statement]
    account.iam.put_role_policy(**of, PolicyDocument=json.dumps(policy))
    role = account.iam.get_role(RoleName=name)["Role"]
    return Role(account.id, role["AssumeRolePolicyDocument"], policy)


@pytest.fixture(scope="module")
def hubs(moto):
    reset(moto)
    account = MotoAccount(moto)
    roles = {}
    for platform, values in PLATFORMS.items():
        make_stack(account, AWS / "hub-role.yaml", Platform=platform, **values)
        roles[platform] = enforceable_role(account, HUB)
        reset(moto)
    return roles


@pytest.fixture(scope="module")
def member(moto):
    reset(moto)
    account = MotoAccount(moto, "210987654321")
    values = {"ExporterArn": HUB_ARN, "ExternalId": EXTERNAL_ID}
    make_stack(account, AWS / "member-role.yaml", **values)
    return enforceable_role(account, MEMBER)


def in_hub(arn=HUB_ARN, external_id=EXTERNAL_ID, tags=False):
    """The exporter with a session of the hub role, as IAM sees it."""
    context = {"aws:PrincipalArn": arn, "sts:ExternalId": external_id}
    return Caller({"AWS": arn}, context, tags)


# --- The templates ---


def test_the_linter_of_cloudformation_accepts_them():
    templates = sorted(AWS.glob("*.yaml"))
    assert len(templates) == 3
    linter = Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run(
        [linter, "--include-checks", "I", "--", *templates],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def allowed(statements):
    return {
        (action, statement["Resource"], json.dumps(statement.get("Condition")))
        for statement in statements
        for action in listed(statement["Action"])
    }


@pytest.mark.parametrize("choice", CHOICES)
def test_the_hub_may_do_what_the_policies_of_its_choice_allow(moto, choice):
    reset(moto)
    account = MotoAccount(moto)
    make_stack(account, AWS / "hub-role.yaml", Platform="ec2", Accounts=choice)
    [profile] = account.iam.list_instance_profiles()["InstanceProfiles"]
    assert [role["RoleName"] for role in profile["Roles"]] == [HUB]
    made = enforceable_role(account, HUB).policy["Statement"]
    assert allowed(made) == allowed(statements(*CHOICES[choice]))


def test_the_member_may_do_what_the_policies_of_an_account_allow(member):
    assert allowed(member.policy["Statement"]) == allowed(statements(*OF_ACCOUNT))


# --- Trust policies ---


def test_the_member_lets_in_the_hub_with_and_without_session_tags(member):
    assert lets_in(member.trust, in_hub())
    assert lets_in(member.trust, in_hub(tags=True))


@pytest.mark.parametrize(
    "caller",
    [
        in_hub(external_id="another"),
        Caller({"AWS": HUB_ARN}, {"aws:PrincipalArn": HUB_ARN}),
        in_hub(f"arn:aws:iam::{ACCOUNT}:role/other"),
        in_hub(f"arn:aws:iam::{ACCOUNT}:root"),
        in_hub(f"{HUB_ARN}-2"),
        in_hub(f"arn:aws:iam::999999999999:role/{HUB}"),
        Caller({"Service": "ec2.amazonaws.com"}, {"sts:ExternalId": EXTERNAL_ID}),
    ],
    ids=["wrong id", "no id", "other role", "root", "longer name", "other account", "service"],
)
def test_the_member_refuses_everybody_else(member, caller):
    assert not lets_in(member.trust, caller)


def test_the_member_names_no_role_as_principal_so_that_the_hub_can_be_made_again(member):
    [statement] = member.trust["Statement"]
    assert statement["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}


def without_tags(document):
    """The document without sts:TagSession."""
    return json.loads(json.dumps(document).replace('"sts:TagSession"', '"sts:None"'))


def test_without_tag_session_the_session_of_a_pod_would_be_refused(member, hubs):
    assert not lets_in(without_tags(member.trust), in_hub(tags=True))
    assert lets_in(without_tags(member.trust), in_hub())
    pod = of_pod("monitoring", "iam-key-exporter")
    assert not lets_in(without_tags(hubs["pod-identity"].trust), pod)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_hub_may_assume_and_tag_the_members_role_and_no_other(hubs, platform):
    policy = hubs[platform].policy
    needed = ("sts:AssumeRole", "sts:TagSession")
    assert allows(policy, MEMBER_ARN, *needed, context=WITHIN)
    for other in ["arn:aws:iam::210987654321:role/admin", HUB_ARN]:
        assert not allows(policy, other, "sts:AssumeRole", context=WITHIN)
    assert not allows(without_tags(policy), MEMBER_ARN, *needed, context=WITHIN)


def test_the_hub_of_an_organization_may_assume_no_role_outside_of_it(hubs):
    policy = hubs["ecs"].policy
    assert allows(policy, MEMBER_ARN, "sts:AssumeRole", context=WITHIN)
    without = {"aws:PrincipalOrgID": "o-ours"}
    for context in [without | {"aws:ResourceOrgID": "o-theirs"}, without, {}]:
        assert not allows(policy, MEMBER_ARN, "sts:AssumeRole", context=context)


def of_pod(namespace, account):
    tags = {"kubernetes-namespace": namespace, "kubernetes-service-account": account}
    context = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    return Caller({"Service": "pods.eks.amazonaws.com"}, context, tags=True)


def test_pod_identity_lets_in_one_service_account(hubs):
    trust = hubs["pod-identity"].trust
    assert lets_in(trust, of_pod("monitoring", "iam-key-exporter"))
    assert not lets_in(trust, of_pod("default", "iam-key-exporter"))
    assert not lets_in(trust, of_pod("monitoring", "default"))


def of_token(hub, subject, audience="sts.amazonaws.com", issuer=ISSUER):
    provider = f"arn:aws:iam::{hub.account}:oidc-provider/{issuer}"
    return Caller({"Federated": provider}, {f"{issuer}:sub": subject, f"{issuer}:aud": audience})


def test_irsa_lets_in_one_service_account_of_one_cluster(hubs):
    hub = hubs["irsa"]
    trust, action = hub.trust, "sts:AssumeRoleWithWebIdentity"
    ours = "system:serviceaccount:monitoring:iam-key-exporter"
    assert lets_in(trust, of_token(hub, ours), action)
    for stranger in (
        of_token(hub, "system:serviceaccount:default:iam-key-exporter"),
        of_token(hub, ours, audience="another"),
        of_token(hub, ours, issuer=f"{ISSUER}2"),
    ):
        assert not lets_in(trust, stranger, action)


def test_ecs_lets_in_tasks_of_its_own_account(hubs):
    hub = hubs["ecs"]
    task = {"Service": "ecs-tasks.amazonaws.com"}
    assert lets_in(hub.trust, Caller(task, {"aws:SourceAccount": hub.account}))
    assert not lets_in(hub.trust, Caller(task, {"aws:SourceAccount": "999999999999"}))
    assert not lets_in(hub.trust, Caller({"Service": "ec2.amazonaws.com"}))


def test_ec2_lets_in_instances_alone(hubs):
    trust = hubs["ec2"].trust
    assert lets_in(trust, Caller({"Service": "ec2.amazonaws.com"}))
    assert not lets_in(trust, Caller({"Service": "ecs-tasks.amazonaws.com"}))


# --- The exporter in these roles ---


def add_keys(account, age):
    account.add_user("someone", age)
    # Makes a report now. Otherwise the exporter waits two seconds for it.
    account.iam.generate_credential_report()


def make_stack_set(moto, exporter):
    """The organization's second account gets its role from a StackSet, which does not include the first."""
    management = MotoAccount(moto)
    client = management.client("organizations", management.credentials)
    client.create_organization(FeatureSet="ALL")
    root = client.list_roots()["Roots"][0]["Id"]
    unit = client.create_organizational_unit(ParentId=root, Name="all")["OrganizationalUnit"]["Id"]
    status = client.create_account(Email="production@example.com", AccountName="production")
    production = status["CreateAccountStatus"]["AccountId"]
    client.move_account(AccountId=production, SourceParentId=root, DestinationParentId=unit)

    values = parameters({"ExporterArn": exporter, "ExternalId": EXTERNAL_ID})
    client = management.client("cloudformation", management.credentials)
    client.create_stack_set(
        StackSetName="iam-key-exporter",
        TemplateBody=(AWS / "member-role.yaml").read_text(),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        PermissionModel="SERVICE_MANAGED",
        AutoDeployment={"Enabled": True, "RetainStacksOnAccountRemoval": False},
        Parameters=values,
    )
    client.create_stack_instances(
        StackSetName="iam-key-exporter",
        DeploymentTargets={"OrganizationalUnitIds": [unit]},
        Regions=["us-east-1"],
        ParameterOverrides=values,
    )
    return management, MotoAccount(moto, production)


def session(moto, account, role):
    """The credentials that the platform gives to the exporter."""
    sts = account.client("sts", TEST_CREDENTIALS)
    given = sts.assume_role(RoleArn=role, RoleSessionName="exporter")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }


def unrotated(moto, folder, credentials, config):
    """The number of unrotated keys of each account that the exporter could read."""
    file = folder / "config.yaml"
    file.write_text(config)
    options = {"endpoint": moto, "credentials": credentials}
    with enforced(moto), Exporter(folder, "--config.file", file, **options) as exporter:
        page = exporter.wait_until_ready()
    return {of["account_id"]: value for of, value in page.family("iam_unrotated_keys_total")}


def test_in_the_management_account_the_exporter_reads_the_organization(moto, tmp_path):
    reset(moto)
    management, production = make_stack_set(moto, HUB_ARN)
    hub = make_stack(management, AWS / "hub-role.yaml", Platform="pod-identity")["RoleArn"]
    assert hub == HUB_ARN
    add_keys(management, 10)
    add_keys(production, 400)
    enforceable_role(management, HUB)
    assert lets_in(enforceable_role(production, MEMBER).trust, in_hub(hub, tags=True))

    config = f"organization: {{ role_name: {MEMBER}, external_id: {EXTERNAL_ID} }}\n"
    found = unrotated(moto, tmp_path, session(moto, management, hub), config)
    assert found == {management.id: 0, production.id: 1}


def test_elsewhere_it_reads_the_management_account_by_the_role_of_a_plain_stack(moto, tmp_path):
    reset(moto)
    elsewhere = MotoAccount(moto, "333333333333")
    values = {"Platform": "ecs", "Accounts": "listed"}
    hub = make_stack(elsewhere, AWS / "hub-role.yaml", **values)["RoleArn"]
    accounts = make_stack_set(moto, hub)
    management, production = accounts
    values = {"ExporterArn": hub, "ExternalId": EXTERNAL_ID}
    roles = {
        management.id: make_stack(management, AWS / "member-role.yaml", **values)["RoleArn"],
        production.id: f"arn:aws:iam::{production.id}:role/{MEMBER}",
    }
    enforceable_role(elsewhere, HUB)
    for account in accounts:
        add_keys(account, 400)
        trust = enforceable_role(account, MEMBER).trust
        assert lets_in(trust, in_hub(hub)) and not lets_in(trust, in_hub())

    entries = [
        {"id": account, "role_arn": arn, "external_id": EXTERNAL_ID}
        for account, arn in roles.items()
    ]
    config = json.dumps({"accounts": entries})
    found = unrotated(moto, tmp_path, session(moto, elsewhere, hub), config)
    assert found == {management.id: 1, production.id: 1}


# --- ECS ---


@pytest.fixture(scope="module")
def container(moto):
    """The container of the task in ecs-task.yaml."""
    reset(moto)
    account = MotoAccount(moto)
    values = {"Image": "registry.example.com/iam-key-exporter:1", "TaskRoleArn": HUB_ARN}
    made = make_stack(account, AWS / "ecs-task.yaml", **values, ConfigFile="/config.yaml")
    ecs = account.client("ecs", account.credentials)
    found = ecs.describe_task_definition(taskDefinition=made["TaskDefinitionArn"])
    [container] = found["taskDefinition"]["containerDefinitions"]
    return container


def test_the_task_has_the_health_check_of_the_image(container):
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    check = container["healthCheck"]
    form, *command = check["command"]
    assert form == "CMD"
    assert f"    CMD {json.dumps(command)}\n" in dockerfile
    [options] = re.findall(r"^HEALTHCHECK (.*) \\$", dockerfile, re.MULTILINE)
    assert options == (
        f"--interval={check['interval']}s --timeout={check['timeout']}s"
        f" --start-period={check['startPeriod']}s --retries={check['retries']}"
    )


def test_the_task_has_no_rights_and_its_variables_are_flags_of_the_exporter(container, tmp_path):
    assert container["readonlyRootFilesystem"] and container["user"] == "65532"
    assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    variables = {variable["name"]: variable["value"] for variable in container["environment"]}
    assert variables["IAM_KEY_EXPORTER_CONFIG_FILE"] == "/config.yaml"
    assert variables["IAM_KEY_EXPORTER_WEB_HEALTH_ADDRESS"].startswith("127.0.0.1:")
    file = tmp_path / "config.yaml"
    file.write_text("rotation: { max_age: 60d }\n")
    done = subprocess.run(
        [exporter_binary(), "check-config"],
        env=exporter_environment(tmp_path) | variables | {"IAM_KEY_EXPORTER_CONFIG_FILE": str(file)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "max age: 60d" in done.stdout, done.stderr
    assert not done.stderr


# --- The documents ---


def commands():
    """The words of each `aws` command in docs/install.md."""
    text = (ROOT / "docs/install.md").read_text().replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^ *(aws .*)$", text, re.MULTILINE)]


def options(words):
    """The values of each option."""
    found, values = {}, None
    for word in words:
        if word.startswith("--"):
            values = found.setdefault(word, [])
        else:
            values.append(word)
    return found


def documented():
    """The template and the parameters of each stack in docs/install.md."""
    for _, _, operation, *words in commands():
        given = options(words)
        if operation == "deploy":
            values = [pair.split("=", 1) for pair in given["--parameter-overrides"]]
            yield given["--template-file"][0], dict(values)
        elif operation == "create-stack-set":
            pattern = r"ParameterKey=(\w+),ParameterValue=(.+)"
            pairs = [re.fullmatch(pattern, pair).groups() for pair in given["--parameters"]]
            yield given["--template-body"][0].removeprefix("file://"), dict(pairs)


def declared(template):
    """The parameters of a template. Its other parts contain tags that only CloudFormation knows."""
    section = re.search(r"^Parameters:\n(.*?)^\w", template.read_text(), re.MULTILINE | re.DOTALL)
    return yaml.safe_load(section[1])


@pytest.mark.parametrize("template, values", list(documented()))
def test_the_documented_stacks_can_be_made(moto, template, values):
    known = declared(ROOT / template)
    assert {name for name in known if "Default" not in known[name]} <= set(values) <= set(known)
    for name, value in values.items():
        assert re.fullmatch(known[name].get("AllowedPattern", ".*"), value), name
        assert value in known[name].get("AllowedValues", [value])
    reset(moto)
    assert make_stack(MotoAccount(moto), ROOT / template, **values)


def test_the_documented_trust_is_that_of_the_documented_stack_set(moto):
    text = (ROOT / "docs/permissions.md").read_text()
    [shown] = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    stacks = [stack for stack in documented() if stack[0].endswith("/member-role.yaml")]
    assert len(stacks) == 2
    for template, values in stacks:
        reset(moto)
        account = MotoAccount(moto)
        make_stack(account, ROOT / template, **values)
        assert json.loads(shown) == enforceable_role(account, MEMBER).trust


# --- Terraform: its providers are not available, so the test reads the modules without running them ---

MODULES = {"hub": "hub-role.yaml", "member": "member-role.yaml", "ecs-task": "ecs-task.yaml"}


class Module:
    def __init__(self, name):
        self.folder = AWS / "terraform" / name
        files = [file.read_text() for file in sorted(self.folder.glob("*.tf"))]
        self.text = "\n".join(files)
        self.blocks = [unquoted(hcl2.loads(text)) for text in files]

    def all(self, kind):
        """All blocks of a kind, for example variables, by label."""
        return {
            name: body
            for blocks in self.blocks
            for block in blocks.get(kind, [])
            for name, body in block.items()
            if not name.startswith("__")
        }

    def render(self, template, **values):
        """Renders a template. The module must pass exactly its variables."""
        [given] = re.findall(
            rf'templatefile\("\$\{{path.module}}/{re.escape(template)}", \{{(.*?)\n *}}\)',
            self.text,
            re.DOTALL,
        )
        template = template.replace("${var.platform}", values.pop("platform", ""))
        assert set(re.findall(r"(\w+) +=", given)) == set(values)
        text = (self.folder / template).read_text()
        return json.loads(re.sub(r"\$\{(\w+)}", lambda name: values[name[1]], text))


def unquoted(value):
    """The parser keeps the quotes of texts and labels."""
    if isinstance(value, dict):
        return {name.strip('"'): unquoted(one) for name, one in value.items()}
    if isinstance(value, list):
        return [unquoted(one) for one in value]
    return value.strip('"') if isinstance(value, str) else value


@pytest.mark.parametrize("name", MODULES)
def test_a_module_uses_each_name_that_it_declares_and_no_other(name):
    module = Module(name)
    used = {kind: set(re.findall(rf"\b{kind}\.(\w+)", module.text)) for kind in ("var", "local")}
    assert used == {"var": set(module.all("variable")), "local": set(module.all("locals"))}
    known = {
        f"{kind}.{label}" for kind, bodies in module.all("resource").items() for label in bodies
    }
    assert set(re.findall(r"(?<!\.)\b(aws_\w+\.\w+)\.", module.text)) <= known


@pytest.mark.parametrize("name, template", MODULES.items())
def test_a_module_has_the_parameters_of_the_template(name, template):
    expected = {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower(): value.get("Default")
        for key, value in declared(AWS / template).items()
    }
    variables = Module(name).all("variable")
    found = {key: variable.get("default") for key, variable in variables.items()}
    assert found == expected | {"tags": {}}


def test_the_documented_modules_get_the_variables_that_they_need_and_no_others():
    [text] = re.findall(r"```hcl\n(.*?)```", (ROOT / "docs/install.md").read_text(), re.DOTALL)
    blocks = unquoted(hcl2.loads(text))["module"]
    assert len(blocks) == 2
    for [body] in ([one for label, one in block.items() if label[:2] != "__"] for block in blocks):
        module = Module(Path(body["source"]).name)
        assert (ROOT / body["source"]).resolve() == module.folder
        variables = module.all("variable")
        given = {name for name in body if name[:2] != "__"} - {"source"}
        needed = {name for name, variable in variables.items() if "default" not in variable}
        assert needed <= given <= set(variables)


@pytest.mark.parametrize("name, template", MODULES.items())
def test_a_module_accepts_the_values_that_the_template_accepts(name, template):
    module = Module(name)
    for key, value in declared(AWS / template).items():
        pattern = value.get("AllowedPattern")
        if not pattern:
            continue
        variable = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()
        [validation] = module.all("variable")[variable]["validation"]
        [own] = re.findall(r'regex\("(.*?)", ', validation["condition"])
        own = own.replace("\\\\", "\\")
        for text in VALUES_OF_PARAMETERS:
            assert bool(re.search(own, text)) == bool(re.fullmatch(pattern, text)), (variable, text)


VALUES_OF_PARAMETERS = [
    "",
    "a",
    "a/b",
    "k8s-prod",
    "two words",
    ISSUER,
    f"https://{ISSUER}",
    HUB_ARN,
    HUB_ARN.replace(":role/", ":user/"),
    HUB_ARN.replace("aws", "aws-us-gov"),
    HUB_ARN.replace(ACCOUNT, "1234"),
    "n" * 64,
    "n" * 65,
]


def test_the_modules_take_their_policies_from_the_same_files():
    hub, member = Module("hub"), Module("member")
    file = 'file("${path.module}/../../policies/${name}.json")'
    assert file in hub.text and file in member.text
    choices = hub.all("locals")["policies"]
    assert {choice: set(names) for choice, names in choices.items()} == {
        choice: set(names) for choice, names in CHOICES.items()
    }
    assert set(member.all("locals")["policies"]) == set(OF_ACCOUNT)
    [roles] = statements("roles")
    assert f'"{roles["Resource"]}", local.member_role' in hub.text


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_hub_of_the_module_lets_in_whom_that_of_the_template_does(hubs, platform):
    made = Module("hub").render(
        "trust/${var.platform}.json.tftpl",
        platform=platform,
        account=hubs[platform].account,
        partition="aws",
        dns_suffix="amazonaws.com",
        namespace="monitoring",
        service_account="iam-key-exporter",
        oidc_provider=ISSUER,
    )
    assert made == hubs[platform].trust


def test_the_member_of_the_module_lets_in_whom_that_of_the_template_does(member):
    values = {"exporter_arn": HUB_ARN, "external_id": EXTERNAL_ID}
    made = Module("member").render("trust.json.tftpl", partition="aws", account=ACCOUNT, **values)
    assert made == member.trust


def test_the_task_of_the_module_has_the_container_of_the_template(container):
    [made] = Module("ecs-task").render(
        "containers.json.tftpl",
        image=container["image"],
        config_file="/config.yaml",
        log_group="/ecs/iam-key-exporter",
        region="us-east-1",
    )
    # AWS adds these if the template omits them.
    assert made == {name: container[name] for name in made}
