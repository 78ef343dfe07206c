use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};

use super::*;

/// A folder with the files that the configurations in tests/data name.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("iam-key-exporter-web-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a folder");
        let (certificate, key) = pair();
        let (client_ca, _) = pair();
        let (_, other_key) = pair();
        for (name, text) in [
            ("server.crt", certificate.clone()),
            ("server.key", key),
            ("chain.crt", format!("{certificate}{client_ca}")),
            ("client-ca.crt", client_ca),
            ("other.key", other_key),
            ("empty", String::new()),
            ("large", "x".repeat((1 << 20) + 1)),
        ] {
            fs::write(folder.join(name), text).expect("a file");
        }
        Folder(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.0.join(name), text).expect("a file");
        self.0.join(name)
    }

    /// Reads a text in which `<NAME>` is the content of a file.
    fn load(&self, text: &str) -> Result<WebConfig, String> {
        let mut text = text.to_owned();
        for name in ["server.crt", "server.key", "client-ca.crt"] {
            let content = fs::read_to_string(self.0.join(name)).expect("a file");
            text = text.replace(&format!("<{name}>"), &content.replace('\n', "\n    "));
        }
        let folder = format!("{}/", self.0.display());
        WebConfig::load(&self.write("web.yml", &text))
            .map_err(|error| error.to_string().replace(&folder, ""))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pair() -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

/// The word before each configuration is the toolkit's verdict, good or bad, and is the same here,
/// too. A stricter one is refused only here, and a wider one only there.
#[test]
fn each_file_has_the_verdict_of_the_toolkit_but_for_the_exceptions() {
    let folder = Folder::new();
    let mut told = String::new();
    let cases = include_str!("../../../tests/data/web-configs.txt").split("===== ").skip(1);
    assert!(cases.clone().count() > 60);
    for case in cases {
        let (title, text) = case.split_once('\n').expect("a title");
        let (verdict, _) = title.split_once(": ").expect("a verdict");
        let read = folder.load(text);
        match (verdict, &read) {
            ("good" | "wider", Ok(_)) => {}
            ("bad" | "stricter", Err(error)) => {
                let (_, rest) = error.split_once("web.yml:").expect(error);
                let (line, _) = rest.split_once(": ").expect(error);
                assert!(line.parse::<u64>().is_ok(), "{title}: {error}");
                assert_eq!(error.lines().count(), 1, "{title}: {error}");
                assert!(!error.contains("hunter22") && !error.contains("fEqNCco3"), "{error}");
            }
            (_, read) => panic!("{title}: {read:?}"),
        }
        told.push_str(&format!("{title}\n"));
        match read {
            Err(error) => told.push_str(&format!("    {error}\n")),
            Ok(config) => {
                let warnings = config.warnings.iter();
                told.extend(warnings.map(|warning| format!("    warning: {warning}\n")));
            }
        }
    }
    expect_test::expect_file!["../../../tests/golden/web-configs.txt"].assert_eq(&told);
}

#[test]
fn the_whole_is_printed_for_people_without_hashes() {
    let folder = Folder::new();
    let config = folder.load(
        "tls_server_config: { cert_file: server.crt, key_file: server.key }\n\
         http_server_config: { headers: { X-Frame-Options: deny } }\n\
         basic_auth_users: { bob: &x $2y$10$qRTBuFoULoYNA7AQ/F3ck.trZBPyjV64.oA4ZsSBCIWvXuvQlQTuu, alice: *x }\n\
         rate_limit: { interval: 500ms, burst: 20 }\n",
    );
    let expected = "\
web: TLS, with HTTP/2
web: passwords of alice, bob
web: header x-frame-options: deny
web: each address may make 20 requests, and one more every 500ms
";
    let config = config.expect("a configuration");
    assert_eq!(config.to_string(), expected);
    assert!(!format!("{config:?}").contains("qRTBuFoULoYNA7AQ"));
    assert_eq!(WebConfig::default().to_string(), "web: plain HTTP\nweb: no passwords\n");
}

#[test]
fn a_reload_neither_switches_tls_nor_takes_an_empty_file_for_a_wish() {
    let folder = Folder::new();
    let tls = "tls_server_config: { cert_file: server.crt, key_file: server.key }\n";
    let users =
        "basic_auth_users: { bob: $2y$10$qRTBuFoULoYNA7AQ/F3ck.trZBPyjV64.oA4ZsSBCIWvXuvQlQTuu }\n";
    for (before, after, expected) in [
        (tls, users, Some("web.yml:1: tls_server_config: TLS is switched off only by a restart")),
        (users, tls, Some("web.yml:1: tls_server_config: TLS is switched on only by a restart")),
        (
            tls,
            "",
            Some("web.yml: the file is empty: to remove the whole configuration, write {} into it"),
        ),
        (
            users,
            " \n",
            Some("web.yml: the file is empty: to remove the whole configuration, write {} into it"),
        ),
        (users, "{}\n", None),
        (tls, tls, None),
        ("", "", None),
        ("", users, None),
    ] {
        let before = folder.load(before).expect("a configuration");
        let read = WebConfig::load_again(&folder.write("web.yml", after), &before);
        let told = read
            .err()
            .map(|error| error.to_string().replace(&format!("{}/", folder.0.display()), ""));
        assert_eq!(told.as_deref(), expected, "{after}");
    }
}

#[test]
fn a_change_of_any_file_that_was_read_shows() {
    let folder = Folder::new();
    let load = || {
        folder.load(
            "tls_server_config: { cert_file: server.crt, key_file: server.key, client_ca_file: client-ca.crt, client_auth_type: RequireAndVerifyClientCert }\n",
        ).expect("a configuration")
    };
    for name in ["web.yml", "server.crt", "server.key", "client-ca.crt"] {
        let config = load();
        assert!(!config.has_changed());
        let text = fs::read_to_string(folder.0.join(name)).expect("a file");
        // Replaced by the same text, as by a new certificate of the same size.
        folder.write("new", &text);
        fs::rename(folder.0.join("new"), folder.0.join(name)).expect("a file");
        assert!(config.has_changed(), "{name}");
        fs::remove_file(folder.0.join(name)).expect("a file");
        assert!(config.has_changed(), "{name}");
        folder.write(name, &text);
    }
}

#[test]
fn an_error_is_one_line_also_if_a_name_has_several() {
    let text = "tls_server_config:\n  cert_file: server.crt\n\n    - abc\n";
    let error = WebConfig::parse(text, "nowhere/web.yml".as_ref()).expect_err("no such file");
    let expected = "nowhere/web.yml:2: tls_server_config.cert_file: nowhere/server.crt\\n- abc: ";
    assert!(error.to_string().starts_with(expected), "{error}");
    for (text, expected) in [
        ("\"a\\nb\": 1\n", "nowhere/web.yml:1: a\\nb: unknown field `a\\nb`, expected one of "),
        ("basic_auth_users:\n  \"a\\nb\": c\n", "nowhere/web.yml:2: basic_auth_users.a\\nb: "),
    ] {
        let error = WebConfig::parse(text, "nowhere/web.yml".as_ref()).expect_err("an error");
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = WebConfig::parse(&text, "web.yml".as_ref());
    }

    #[test]
    fn no_mixture_of_fields_and_yaml_panics(
        words in proptest::collection::vec(
            "(tls_server_config|cert_file|cert|key|client_ca|client_auth_type|client_allowed_sans|min_version|max_version|cipher_suites|curve_preferences|http_server_config|http2|headers|X-Frame-Options|basic_auth_users|rate_limit|interval|burst|alice):|[-{}\\[\\],:&*!|>'\"#?%@`] ?|&a |\\*a|<<: \\*a|\n {0,6}|TLS1[0-3]|X25519|CurveP521|deny|[0-9]{1,20}(ns|ms|s|h|d)?|\\PC",
            0..60,
        )
    ) {
        if let Err(error) = WebConfig::parse(&words.concat(), "web.yml".as_ref()) {
            prop_assert_eq!(error.to_string().lines().count(), 1, "{}", error);
        }
    }
}
