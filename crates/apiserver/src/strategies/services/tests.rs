//! Arithmetic of address ranges.

use super::ranges::{nth, reserved, size};

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

#[test]
fn the_lower_band_is_for_those_who_choose() {
    let reserved = |range: &str| reserved(range.parse().unwrap());
    assert_eq!(reserved("10.0.0.0/28"), 0);
    assert_eq!(reserved("10.0.0.0/27"), 16);
    assert_eq!(reserved("10.0.0.0/24"), 16);
    assert_eq!(reserved("10.0.0.0/20"), 256);
    assert_eq!(reserved("fd00::/64"), 256);
}
