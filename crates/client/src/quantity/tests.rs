use super::*;

fn q(text: &str) -> Quantity {
    Quantity(text.to_owned())
}

#[test]
fn quantities_become_numbers_rounded_up() {
    for (text, milli, unit) in [
        ("1", 1000, 1),
        ("250m", 250, 1),
        ("0.1", 100, 1),
        ("1.5", 1500, 2),
        (".5", 500, 1),
        ("100u", 1, 1),
        ("64Mi", 67_108_864_000, 67_108_864),
        ("1k", 1_000_000, 1000),
        ("1e3", 1_000_000, 1000),
        ("0", 0, 0),
    ] {
        assert_eq!(millis(&q(text)), Some(milli), "{text}");
        assert_eq!(units(&q(text)), Some(unit), "{text}");
    }
}

#[test]
fn what_is_no_quantity_is_none() {
    for text in ["", "Mi", "1x", "--", "1.2.3", "ä", "99999999999999999999E"] {
        assert_eq!(units(&q(text)), None, "{text}");
    }
}

#[test]
fn numbers_become_canonical_quantities() {
    assert_eq!(from_millis(2000), q("2"));
    assert_eq!(from_millis(250), q("250m"));
    assert_eq!(from_bytes(64 << 20), q("64Mi"));
    assert_eq!(from_bytes(1000), q("1000"));
    assert_eq!(from_bytes(0), q("0"));
}
