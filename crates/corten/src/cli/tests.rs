use std::time::Duration;

use super::duration;

#[test]
fn durations_are_written_as_go_writes_them() {
    for (text, seconds) in [("90s", 90), ("30m", 1_800), ("24h", 86_400), ("1h30m", 5_400), ("8760h0m0s", 31_536_000)] {
        assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    for text in ["", "0", "0s", "300ms", "-1h", "24", "1d", "h", "soon"] {
        assert!(duration(text).is_err_and(|words| !words.is_empty()), "{text}");
    }
}
