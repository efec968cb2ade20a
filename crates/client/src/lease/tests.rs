use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};

use super::{
    Election, Holder,
    election::{Claim, judge},
};

#[test]
fn a_renewal_keeps_what_it_does_not_own() {
    let holder = Holder::node("worker", None);
    let first = holder.renewed(Lease::default(), Timestamp::UNIX_EPOCH);
    assert_eq!(first.metadata.name.as_deref(), Some("worker"));
    let mut changed = first.clone();
    changed.spec.get_or_insert_default().lease_transitions = Some(3);
    let second = holder.renewed(changed, Timestamp::MAX).spec.unwrap();
    assert_eq!(second.lease_transitions, Some(3));
    assert_eq!(second.lease_duration_seconds, Some(40));
    assert_eq!(second.holder_identity.as_deref(), Some("worker"));
    assert_eq!(second.renew_time, Some(MicroTime(Timestamp::MAX)));
}

#[test]
fn a_lease_is_taken_over_only_when_it_stands_still() {
    let election = Election::component("scheduler", "a");
    let start = Instant::now();
    let mut observed = None;
    let mut at = |holder: &str, renewed: i64, seconds: u64| {
        let spec = LeaseSpec {
            holder_identity: Some(holder.into()),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            ..LeaseSpec::default()
        };
        let now = start + Duration::from_secs(seconds);
        judge(&spec, &election, &mut observed, now)
    };
    assert_eq!(at("b", 1, 0), Claim::Wait);
    assert_eq!(at("b", 2, 14), Claim::Wait, "renewed");
    assert_eq!(at("b", 2, 28), Claim::Wait, "14 s without renewal");
    assert_eq!(at("b", 2, 30), Claim::Take);
    assert_eq!(at("c", 3, 31), Claim::Wait, "another was faster");
    assert_eq!(at("a", 4, 32), Claim::Renew);
    assert_eq!(at("", 5, 33), Claim::Take, "released");
}
