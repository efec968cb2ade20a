use super::*;

fn canonical(text: &str) -> String {
    match text.parse::<Quantity>() {
        Ok(quantity) => quantity.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn quantities_have_one_form() {
    for (text, expected) in [
        ("0", "0"),
        ("0.0", "0"),
        ("1", "1"),
        ("100m", "100m"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1024Mi", "1Gi"),
        ("2048Ki", "2Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1000", "1k"),
        ("1000000", "1M"),
        ("64M", "64M"),
        ("1e3", "1e3"),
        ("12E5", "1200e3"),
        ("1E", "1E"),
        ("-1.5", "-1500m"),
        ("+2", "2"),
        ("0.0000000001", "1n"),
        ("100Ei", "9223372036854775807"),
        ("1e400", "9223372036854775807e0"),
        ("0.1Gi", "107374182400m"),
        ("128974848", "128974848"),
        ("129e6", "129e6"),
        ("010", "10"),
    ] {
        let expected = expected.trim_end_matches("e0");
        assert_eq!(canonical(text), expected, "{text}");
        assert_eq!(canonical(expected), expected, "twice: {text}");
    }
    for bad in ["", "x", "1.2.3", "1 ", "--1", "1Gi2x", "Gi"] {
        assert!(canonical(bad).starts_with("quantities must match"), "{bad}");
    }
    assert_eq!(canonical("1Kii"), "unable to parse quantity's suffix");
}

#[test]
fn quantities_count() {
    let parse = |text: &str| text.parse::<Quantity>().unwrap();
    assert_eq!(parse("1500m").value(), 2);
    assert_eq!(parse("1.5").milli_value(), 1500);
    assert_eq!(parse("1Gi"), parse("1024Mi"));
    assert!(parse("1G") < parse("1Gi"));
    assert_eq!((parse("1Gi") + parse("512Mi")).to_string(), "1536Mi");
    assert_eq!((parse("1") - parse("250m")).to_string(), "750m");
}

#[test]
fn times_have_one_form() {
    for (text, expected) in [
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        ("2024-01-02T03:04:05.999Z", "2024-01-02T03:04:05Z"),
        ("2024-01-02T03:04:05+02:00", "2024-01-02T01:04:05Z"),
    ] {
        assert_eq!(time(text).unwrap(), expected);
    }
    assert_eq!(micro_time("2024-01-02T03:04:05Z").unwrap(), "2024-01-02T03:04:05.000000Z");
    assert_eq!(micro_time("2024-01-02T03:04:05.1234567Z").unwrap(), "2024-01-02T03:04:05.123456Z");
    assert_eq!(
        time("yesterday").unwrap_err().to_string(),
        "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\""
    );
    for bad in ["2024-13-02T03:04:05Z", "2024-01-02 03:04:05Z", "2024-01-02", ""] {
        assert!(time(bad).is_err(), "{bad}");
    }
}

#[test]
fn base64_is_checked() {
    assert_eq!(bytes("aGVs\nbG8=").unwrap(), b"hello");
    assert_eq!(bytes("aGVsbG8").unwrap_err(), "illegal base64 data at input byte 7");
    assert_eq!(bytes("a!Vs").unwrap_err(), "illegal base64 data at input byte 1");
}

#[test]
fn durations_are_gos() {
    for (text, milliseconds) in [
        ("0", 0),
        ("0s", 0),
        ("30s", 30_000),
        ("1m30s", 90_000),
        ("1.5h", 5_400_000),
        ("300ms", 300),
        ("+2h", 7_200_000),
        ("1h2m3.5s", 3_723_500),
    ] {
        assert_eq!(duration(text), Ok((false, std::time::Duration::from_millis(milliseconds))), "{text}");
    }
    assert_eq!(duration("-5s"), Ok((true, std::time::Duration::from_secs(5))));
    for (text, why) in [
        ("", DurationError::Invalid),
        ("-", DurationError::Invalid),
        ("s", DurationError::Invalid),
        ("1..2s", DurationError::Invalid),
        ("99999999999999999999h", DurationError::Invalid),
        ("10", DurationError::MissingUnit),
        ("1x", DurationError::UnknownUnit),
    ] {
        assert_eq!(duration(text), Err(why), "{text}");
    }
}
