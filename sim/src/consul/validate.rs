//! Rules that agents and servers both apply to definitions.

use super::types::Service;

/// Checks a service's metadata.
pub(crate) fn service_meta(service: &Service) -> Result<(), String> {
    let Some(meta) = &service.meta else { return Ok(()) };
    if meta.len() > 64 {
        return Err("Node metadata cannot contain more than 64 key/value pairs".to_owned());
    }
    for (key, value) in meta {
        meta_pair(key, value)
            .map_err(|e| format!("Couldn't load metadata pair ('{key}', '{value}'): {e}"))?;
    }
    Ok(())
}

fn meta_pair(key: &str, value: &str) -> Result<(), String> {
    if key.is_empty() {
        return Err("Key cannot be blank".to_owned());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.chars().all(plain) {
        return Err("Key contains invalid characters".to_owned());
    }
    if key.len() > 128 {
        return Err("Key is too long (limit: 128 characters)".to_owned());
    }
    if key.starts_with("consul-") {
        return Err("Key prefix 'consul-' is reserved for internal use".to_owned());
    }
    if value.len() > 512 {
        return Err("Value is too long (limit: 512 characters)".to_owned());
    }
    Ok(())
}

/// Checks the weights of a service.
pub(crate) fn weights((passing, warning): (i64, i64)) -> Result<(), String> {
    if passing < 1 {
        return Err("Passing must be greater than 0".to_owned());
    }
    if warning < 0 {
        return Err("Warning must be greater or equal than 0".to_owned());
    }
    if passing > 65_535 || warning > 65_535 {
        return Err("DNS Weight must be between 0 and 65535".to_owned());
    }
    Ok(())
}

/// Tells whether an address means "any interface", by its spelling, as Consul does.
pub(crate) fn is_any_address(address: &str) -> bool {
    matches!(address, "0.0.0.0" | "::" | "[::]")
}
