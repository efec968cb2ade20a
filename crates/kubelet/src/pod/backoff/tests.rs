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
        let next = Backoff::next(backoff, at(now), at(now), LONGEST);
        delays.push(next.delay().as_secs());
        now += next.delay().as_secs();
        backoff = Some(next);
    }
    assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300, 300]);
}

#[test]
fn it_counts_from_the_failure() {
    let backoff = Backoff::next(None, at(1000), at(1000), LONGEST);
    assert_eq!(backoff.until(at(1005), at(1006)), Some(at(1015)));
    assert_eq!(backoff.until(at(1005), at(1015)), None);
}

#[test]
fn ten_good_minutes_forgive() {
    let backoff = Backoff::next(None, at(1000), at(1000), LONGEST);
    assert_eq!(backoff.until(at(1601), at(1601)), None);
    let next = Backoff::next(Some(backoff), at(1601), at(1601), LONGEST);
    assert_eq!(next.delay().as_secs(), 10);
}

#[test]
fn durations_read_as_in_the_reference() {
    for (seconds, text) in [(10, "10s"), (40, "40s"), (160, "2m40s"), (300, "5m0s")] {
        assert_eq!(go_duration(SignedDuration::from_secs(seconds)), text);
    }
}

#[test]
fn a_configured_longest_pause_is_kept_from_the_first_on() {
    let short = SignedDuration::from_secs(4);
    let first = Backoff::next(None, at(1000), at(1000), short);
    let second = Backoff::next(Some(first), at(1004), at(1004), short);
    assert_eq!((first.delay(), second.delay()), (short, short));
}
