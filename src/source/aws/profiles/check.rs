//! Values that the SDK does not check, or on which it panics.

use super::file::{File, Properties};
use super::{failure, get};
use crate::failure::Failure;
use crate::secrets;
use crate::source::aws::environment::{
    add_if_swapped, add_password, check_key, check_path, check_region, check_url,
};

/// Refuses values on which the SDK panics, and registers secrets.
pub fn check_values(files: &[File], properties: &Properties) -> Result<(), Failure> {
    for (key, property) in properties
        .values()
        .flatten()
        .flat_map(|(key, all)| all.iter().map(move |property| (key.as_str(), property)))
    {
        let fault = |failure: Failure| files[property.file].fault(property.line, &failure.message);
        match key {
            "aws_secret_access_key" | "aws_session_token" | "external_id" => {
                secrets::add(&property.value);
            }
            "aws_access_key_id" => add_if_swapped(&property.value),
            "endpoint_url" | "ec2_metadata_service_endpoint" => add_password(&property.value),
            _ => {}
        }
        match key {
            "aws_access_key_id" | "aws_secret_access_key" | "aws_session_token" => {
                check_key(key, &property.value).map_err(fault)?;
            }
            "endpoint_url" => check_url(&property.value)
                .map_err(|what| fault(failure(&format!("endpoint_url {what}"))))?,
            _ => {}
        }
    }
    Ok(())
}

/// Refuses values of the used profiles on which the SDK panics or fails with an unclear message.
pub fn check_used(files: &[File], properties: &Properties, names: &[&str]) -> Result<(), Failure> {
    let keys = names.iter().filter_map(|name| properties.get(*name)).flatten();
    let last = keys.filter_map(|(key, all)| Some((key.as_str(), all.last()?)));
    // An empty one counts as unset.
    for (key, property) in last.filter(|(_, property)| !property.value.is_empty()) {
        let checked = match key {
            "ec2_metadata_service_endpoint" => check_url(&property.value),
            "region" | "sso_region" => check_region(&property.value),
            "web_identity_token_file" | "ca_bundle" => check_path(&property.value),
            _ => Ok(()),
        };
        checked
            .map_err(|what| files[property.file].fault(property.line, &format!("{key} {what}")))?;
    }
    Ok(())
}

pub fn check_login(properties: &Properties, profile: &str) -> Result<(), Failure> {
    let has = |key| get(properties, profile, key).is_some();
    if !has("login_session") || has("credential_source") || has("credential_process") {
        return Ok(());
    }
    Err(failure(&format!(
        "profile {profile} signs in with `aws login`, which the exporter cannot use: add the line \
         `credential_process = aws configure export-credentials --profile {profile} --format process` \
         to another profile and use that, or use a role or IAM Identity Center (SSO)"
    )))
}
