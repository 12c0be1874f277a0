//! Limits of requests to a remote, and those that a user sets: how long a read waits for it, and how many bytes come from
//! it in a second.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use crate::sys::time;

/// The longest time that a read may wait: a program that reads can be ended at any time, but few users know it.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// With fewer bits in a second, an index of a large artifact takes minutes.
const LEAST_BANDWIDTH: u64 = 100_000;

/// The limits of one remote; `None` is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteLimits {
    /// How long a read waits while the remote does not answer.
    pub wait: Option<Duration>,
    /// Bits in a second.
    pub bandwidth: Option<u64>,
}

/// Time limits of requests.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "remote"), expect(dead_code, reason = "nothing is requested"))]
pub struct ClientLimits {
    /// How long a look for entries may take in all.
    pub probe: Duration,
    /// A transfer that brings nothing for as long is tried again. Of a request with a body, reqwest begins to count before
    /// that is sent: the client bounds it instead.
    pub read: Duration,
    /// How often a request is tried again.
    pub retries: usize,
}

impl ClientLimits {
    /// Those of the fetcher, which tries again by itself, with a new client.
    pub fn of_fetcher() -> ClientLimits {
        ClientLimits { read: Duration::from_secs(5), retries: 0, ..ClientLimits::default() }
    }
}

impl Default for ClientLimits {
    fn default() -> ClientLimits {
        ClientLimits { probe: Duration::from_secs(5), read: Duration::from_secs(15), retries: 4 }
    }
}

/// Reads a time such as `30s`.
///
/// # Errors
/// It is none, or too long a one.
pub fn wait<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(d)?;
    let parsed = time::duration(&text).filter(|wait| *wait <= LONGEST_WAIT);
    parsed.map(Some).ok_or_else(|| D::Error::custom(format!("{text:?} is no time such as 30s or 2m, up to 1h")))
}

/// Reads a number of bits in a second, such as `100M`.
///
/// # Errors
/// It is none, or too small a one.
pub fn bandwidth<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(d)?;
    let parsed = bits(&text).filter(|bits| *bits >= LEAST_BANDWIDTH);
    let why = || format!("{text:?} is no number of bits in a second such as 100M, 800k or 1G, from 100k on");
    parsed.map(Some).ok_or_else(|| D::Error::custom(why()))
}

fn bits(text: &str) -> Option<u64> {
    let factors = [('k', 1000), ('M', 1_000_000), ('G', 1_000_000_000)];
    let found = factors.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (digits, factor): (&str, u64) = found.unwrap_or((text, 1));
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::UserRemote;

    fn parse(text: &str) -> Result<RemoteLimits, String> {
        let user: UserRemote = toml::from_str(text).map_err(|e| e.to_string())?;
        Ok(RemoteLimits { wait: user.wait, bandwidth: user.bandwidth })
    }

    #[test]
    fn limits_are_times_and_numbers_of_bits_and_anything_else_is_refused_with_an_example() {
        let of = |seconds, bandwidth| {
            Ok(RemoteLimits { wait: Some(Duration::from_secs(seconds)), bandwidth: Some(bandwidth) })
        };
        assert_eq!(parse("wait = \"30s\"\nbandwidth = \"100M\""), of(30, 100_000_000));
        assert_eq!(parse("wait = \"1h\"\nbandwidth = \"800k\""), of(3600, 800_000));
        assert_eq!(parse("wait = \"2m\"\nbandwidth = \"1G\""), of(120, 1_000_000_000));
        assert_eq!(parse("wait = \"1s\"\nbandwidth = \"250000\""), of(1, 250_000));
        assert_eq!(parse(""), Ok(RemoteLimits::default()));
        for bad in ["30", "0s", "61m", "-1s", "s", "1d", ""] {
            let said = parse(&format!("wait = \"{bad}\"")).unwrap_err();
            assert!(said.contains("is no time such as 30s"), "{said}");
        }
        for bad in ["", "M", "1.5M", "99k", "100 M", "100m", "-1M", "99999999999999999999G", "18446744073709551615k"] {
            let said = parse(&format!("bandwidth = \"{bad}\"")).unwrap_err();
            assert!(said.contains("such as 100M"), "{said}");
        }
        assert!(parse("wait = 30").is_err() && parse("bandwidth = 100").is_err());
    }
}
