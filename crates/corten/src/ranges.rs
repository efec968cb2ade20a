//! The addresses of Services: a range, or one of each family.

use std::fmt;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// `10.43.0.0/16` or `10.43.0.0/16,fd00:43::/112`. Pods have IPv4 addresses, so that Services without a wish get such, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ServiceRanges {
    pub(crate) primary: Ipv4Net,
    pub(crate) secondary: Option<Ipv6Net>,
}

impl ServiceRanges {
    /// The range of each family that Services have addresses of.
    pub(crate) fn all(self) -> impl Iterator<Item = IpNet> {
        std::iter::once(IpNet::V4(self.primary)).chain(self.secondary.map(IpNet::V6))
    }
}

impl FromStr for ServiceRanges {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ranges: Vec<IpNet> = text
            .split(',')
            .map(|part| part.trim().parse().map_err(|_| format!("{part:?} is no range of addresses such as 10.43.0.0/16")))
            .collect::<Result<_, _>>()?;
        let (primary, secondary) = match ranges.as_slice() {
            [IpNet::V4(only)] => (*only, None),
            [IpNet::V4(first), IpNet::V6(second)] => (*first, Some(*second)),
            _ => return Err("give an IPv4 range, or an IPv4 and an IPv6 range with a comma between them".to_owned()),
        };
        // As many addresses as the reference can keep count of.
        if let Some(large) = secondary.filter(|range| range.prefix_len() < 64) {
            return Err(format!("{large} is too large: the prefix of an IPv6 range has at least 64 bits"));
        }
        Ok(Self { primary, secondary })
    }
}

impl TryFrom<String> for ServiceRanges {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ServiceRanges> for String {
    fn from(ranges: ServiceRanges) -> String {
        ranges.to_string()
    }
}

impl fmt::Display for ServiceRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.primary)?;
        self.secondary.map_or(Ok(()), |range| write!(f, ",{range}"))
    }
}

#[cfg(test)]
mod tests;
