use super::*;

fn file(text: &str) -> File {
    File { kind: Kind::Config, path: "/c".into(), lines: text.lines().map(str::to_owned).collect() }
}

fn fault(text: &str) -> String {
    let (file, mut properties) = (file(text), Properties::new());
    let parsed = file.parse(0, &mut properties);
    let files = [file];
    let checked = parsed.and_then(|()| check_values(&files, &properties));
    let names = chain(&properties, "default");
    checked.and_then(|()| check_used(&files, &properties, &names)).expect_err(text).message
}

fn parsed(text: &str) -> (Vec<File>, Properties) {
    let (file, mut properties) = (file(text), Properties::new());
    file.parse(0, &mut properties).expect(text);
    (vec![file], properties)
}

#[test]
fn a_fault_is_named_with_its_line() {
    for (text, expected) in [
        ("a = b", "/c:1: a line before the first section, such as [default]"),
        ("[default]\n[x", "/c:2: a section must end with ]"),
        ("[default]\nregion", "/c:2: must be like key = value"),
        (
            "[default]\nregion = x\n  aws_access_key_id = A",
            "/c:3: an indented line belongs to the line above: remove the indent",
        ),
        (
            "[default]\n  region = x",
            "/c:2: an indented line belongs to the line above: remove the indent",
        ),
        (
            "[default]\n\naws_access_key_id = AK IA",
            "/c:3: aws_access_key_id has a blank or a line break in it",
        ),
        ("[default]\nregion = us-east-1 x", "/c:2: region must be a region such as eu-west-1"),
        (
            "[default]\nweb_identity_token_file = eyJhbGciOiJub25lIn0.e30.c2ln",
            "/c:2: web_identity_token_file is wrong: the value is not a path",
        ),
        (
            "[default]\nec2_metadata_service_endpoint = 127.0.0.1:1",
            "/c:2: ec2_metadata_service_endpoint must be a URL such as https://sts.eu-west-1.amazonaws.com",
        ),
        ("[default]\nendpoint_url =", "/c:2: endpoint_url is empty: unset it, or give a URL"),
        (
            "[services a]\niam =\n  endpoint_url = x",
            "/c:3: endpoint_url must be a URL such as https://sts.eu-west-1.amazonaws.com",
        ),
    ] {
        assert_eq!(fault(text), expected);
    }
}

#[test]
fn a_profile_that_is_not_in_use_may_name_no_region() {
    let (files, properties) = parsed(
        "[default]\nregion = us-east-1\n[profile a]\nregion = <your region>\n\
         [profile b]\nrole_arn = r\nsource_profile = a",
    );
    let check = |name| check_used(&files, &properties, &chain(&properties, name));
    assert_eq!(check("default"), Ok(()));
    assert!(check("b").is_err_and(|failure| failure.message.starts_with("/c:4: region ")));
}

#[test]
fn lines_are_read_by_the_sdks_rules() {
    let (_, properties) = parsed(
        "# c\n[profile a b]\nRegion=x # y\ns3 =\n  nested = 1\n[sso-session s]\nsso_region = z\n\
         [default]\ncolor = red#1\n",
    );
    assert_eq!(get(&properties, "a b", "region"), Some("x"));
    assert_eq!(get(&properties, "default", "color"), Some("red#1"));
    assert_eq!(properties.len(), 2);
}

#[test]
fn a_process_becomes_a_source_unless_the_sdk_asks_others_first() {
    for (text, expected) in [
        (
            "[default]\ncredential_process = x",
            Some("[default]\ncredential_source = credential-process-0"),
        ),
        (
            "[default]\nrole_arn = r\nsource_profile = default\ncredential_process = x",
            Some("[default]\nrole_arn = r\n\ncredential_source = credential-process-0"),
        ),
        ("[default]\ncredential_process = x\ncredential_source = Environment", None),
        ("[default]\ncredential_process = x\nsso_session = s", None),
        ("[default]\ncredential_process = x\nrole_arn = r\nsource_profile = b", None),
    ] {
        let (mut files, properties) = parsed(text);
        let processes = replace_processes(&mut files, &properties);
        assert_eq!(processes.len(), usize::from(expected.is_some()), "{text}");
        assert_eq!(files[0].lines.join("\n"), expected.unwrap_or(text));
    }
}

#[test]
fn a_chain_of_roles_ends_with_its_last_profile() {
    let (_, properties) = parsed(
        "[default]\nrole_arn = r\nsource_profile = b\n[profile b]\nlogin_session = x\n\
         [profile c]\nrole_arn = r\nsource_profile = d\n[profile d]\nrole_arn = r\nsource_profile = c",
    );
    assert_eq!(chain(&properties, "default"), ["default", "b"]);
    // A circle ends, too. The SDK refuses it.
    assert_eq!(chain(&properties, "c"), ["c", "d", "c"]);
    let message = check_login(&properties, "b").expect_err("aws login").message;
    assert!(message.contains("aws configure export-credentials --profile b"), "{message}");
}
