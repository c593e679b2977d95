//! Whose address counts against a limit. Anybody may write anything into `X-Forwarded-For`; only what our own proxies
//! added at its right end is true. So we walk it from the right and stop at the first address that is not a proxy's.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

const FORWARDED: &str = "x-forwarded-for";

/// The address of the client of a request that arrived from `peer`.
pub(crate) fn client_ip(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let is_proxy = |address: IpAddr| proxies.iter().any(|net| net.contains(&address));
    let mut client = peer.to_canonical();
    let lines: Vec<_> = headers.get_all(FORWARDED).iter().collect();
    let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        if !is_proxy(client) {
            break;
        }
        // What can't be read was not written by a proxy of ours: the one that passed it on is all we know.
        let Some(address) = std::str::from_utf8(hop).ok().and_then(address) else { break };
        client = address;
    }
    client
}

/// An address, with or without a port. IPv4 in IPv6 clothes is IPv4, or one client would have two names.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()));
    bare.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s25_only_what_our_proxies_added_is_believed() {
        let proxies: Vec<IpNet> =
            ["10.0.0.0/8", "fd00::/8"].iter().map(|net| net.parse().expect("a network")).collect();
        let cases: [(&str, &[&str], &str); 15] = [
            ("203.0.113.9", &[], "203.0.113.9"),
            ("203.0.113.9", &["1.1.1.1"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["1.1.1.1, 2.2.2.2, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.9.9.9"], "198.51.100.7"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.7,10.9.9.9"], "198.51.100.7"),
            ("10.0.0.1", &["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            ("10.0.0.1", &["198.51.100.7, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, "], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("fd00::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.1", &["\"198.51.100.7\""], "10.0.0.1"),
        ];
        for (peer, lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED, line.parse().expect("a header value"));
            }
            let found = client_ip(peer.parse().expect("an address"), &headers, &proxies);
            assert_eq!(found.to_string(), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn s25_a_new_forged_address_each_time_changes_nothing() {
        let proxies = ["10.0.0.0/8".parse().expect("a network")];
        for forged in 0..=255_u8 {
            let mut headers = HeaderMap::new();
            headers
                .insert(FORWARDED, format!("{forged}.1.1.1, 198.51.100.7").parse().expect("a header value"));
            assert_eq!(client_ip([10, 0, 0, 1].into(), &headers, &proxies).to_string(), "198.51.100.7");
            assert_eq!(client_ip([203, 0, 113, 9].into(), &headers, &proxies).to_string(), "203.0.113.9");
        }
    }
}
