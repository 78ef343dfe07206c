//! Service-specific credentials on the page.

use super::*;

#[test]
fn service_credentials_are_judged_like_keys_and_counted_apart() {
    let (text, _) = page(&Filter::default());
    let of = |name: &str| -> BTreeMap<String, f64> {
        let samples = samples(&text).filter(|(series, _)| series.starts_with(&format!("{name}{{")));
        let id =
            |series: &str| series.split("credential_id=\"ACCA").nth(1).unwrap_or(series).to_owned();
        samples.map(|(series, value)| (id(series).replace("\"}", ""), value)).collect()
    };
    let expected = [
        ("ENDS", 1.0),
        ("EXEMPT", 0.0),
        ("EXPIRED", 0.0),
        ("FAR", 1.0),
        // AWS deletes no user who has one, so the user has another name.
        ("GONE", 1.0),
        ("INACTIVE", 0.0),
        ("NEVER", 1.0),
        ("STRICT", 1.0),
        // No rule can decide, so the default does.
        ("UNREPORTED", 1.0),
        ("YOUNG", 0.0),
    ]
    .map(|(id, unrotated)| (id.to_owned(), unrotated));
    assert_eq!(of("iam_service_specific_credential_unrotated"), expected.into());
    let expiring = of("iam_service_specific_credential_expiry_timestamp_seconds");
    assert_eq!(expiring.into_keys().collect::<Vec<_>>(), ["ENDS", "EXPIRED"]);
    let active = of("iam_service_specific_credential_active");
    let inactive = active.into_iter().filter(|(_, active)| *active == 0.0).map(|(id, _)| id);
    assert_eq!(inactive.collect::<Vec<_>>(), ["EXPIRED", "INACTIVE"]);
    let number: Vec<f64> = of("iam_unrotated_service_credentials").into_values().collect();
    assert_eq!(number, [6.0], "of the other accounts it is not known");
    let found = samples(&text).filter(|(series, _)| {
        series.starts_with("iam_owner_findings{")
            && series.contains("finding=\"unrotated_service_credential\"")
    });
    assert_eq!(found.map(|(_, number)| number).sum::<f64>(), 6.0);
}
