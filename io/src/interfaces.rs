//! The addresses of this machine, for the `interfaces` rules of the configuration.

use std::net::IpAddr;

use steersman_engine::front::Interface;

/// Lists every address of every interface; empty when the kernel gives none.
pub fn list() -> Vec<Interface> {
    let Ok(addresses) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let of_one = |entry: nix::ifaddrs::InterfaceAddress| {
        let storage = entry.address?;
        let address = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (None, Some(v6)) => IpAddr::V6(v6.ip()),
            (None, None) => return None,
        };
        Some(Interface { name: entry.interface_name, address })
    };
    addresses.filter_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_listed_under_its_name() {
        let loopback = |found: &Interface| found.name == "lo" && found.address.is_loopback();
        let found = list();
        // A name space whose loopback is down lists nothing at all.
        assert!(found.is_empty() || found.iter().any(loopback));
    }
}
