use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

#[test]
fn it_doubles_up_to_five_minutes() {
    let mut backoff = None;
    let mut now = 1000;
    let mut delays = Vec::new();
    for _ in 0..8 {
        let next = Backoff::next(backoff, at(now), at(now));
        delays.push(next.delay().as_secs());
        now += next.delay().as_secs();
        backoff = Some(next);
    }
    assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300, 300]);
}

#[test]
fn it_counts_from_the_failure() {
    let backoff = Backoff::next(None, at(1000), at(1000));
    assert_eq!(backoff.until(at(1005), at(1006)), Some(at(1015)));
    assert_eq!(backoff.until(at(1005), at(1015)), None);
}

#[test]
fn ten_good_minutes_forgive() {
    let backoff = Backoff::next(None, at(1000), at(1000));
    assert_eq!(backoff.until(at(1601), at(1601)), None);
    let next = Backoff::next(Some(backoff), at(1601), at(1601));
    assert_eq!(next.delay().as_secs(), 10);
}

#[test]
fn durations_read_as_in_the_reference() {
    for (seconds, text) in [(10, "10s"), (40, "40s"), (160, "2m40s"), (300, "5m0s")] {
        assert_eq!(go_duration(SignedDuration::from_secs(seconds)), text);
    }
}
