//! Arithmetic of address ranges.

use super::addresses::{nth, size};

#[test]
fn addresses_count_from_the_start_of_the_range() {
    let address = |range: &str, offset| nth(range.parse().unwrap(), offset).to_string();
    assert_eq!(address("10.43.0.0/16", 1), "10.43.0.1");
    assert_eq!(address("10.43.7.9/16", 256), "10.43.1.0");
    assert_eq!(address("fd00::/108", 1), "fd00::1");
    assert_eq!(size("10.43.0.0/24".parse().unwrap()), 254);
    assert_eq!(size("10.43.0.0/16".parse().unwrap()), 65534);
    assert_eq!(size("10.43.0.0/32".parse().unwrap()), 0);
}
