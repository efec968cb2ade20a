use http::{Method, StatusCode};
use std::time::Duration;

use super::{Requests, text::Histogram, text::Text, text::labels};
use crate::request::RequestInfo;

fn shown(requests: &Requests) -> String {
    let mut text = Text::default();
    requests.render(&mut text);
    text.finish()
}

#[test]
fn a_request_is_in_flight_until_it_is_answered_or_given_up() {
    let requests = Requests::default();
    let read = RequestInfo::parse(&Method::GET, &"/api/v1/pods".parse().unwrap());
    let in_flight = |count: usize| shown(&requests).contains(&format!("_inflight_requests{{request_kind=\"readOnly\"}} {count}\n"));
    let (answered, given_up) = (requests.begin(&read), requests.begin(&read));
    assert!(in_flight(2), "{}", shown(&requests));
    assert!(requests.end(answered, StatusCode::OK, Duration::ZERO).is_none());
    assert!(in_flight(1), "{}", shown(&requests));
    drop(given_up);
    assert!(in_flight(0), "{}", shown(&requests));
}

#[test]
fn a_watch_runs_until_it_is_dropped() {
    let requests = Requests::default();
    let watch = RequestInfo::parse(&Method::GET, &"/api/v1/namespaces/default/pods?watch=1".parse().unwrap());
    let running = requests.watch(&watch);
    running.told(1500);
    let series =
        "{component=\"apiserver\",group=\"\",resource=\"pods\",scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"}";
    assert!(shown(&requests).contains(&format!("apiserver_longrunning_requests{series} 1\n")), "{}", shown(&requests));
    assert!(shown(&requests).contains("apiserver_watch_events_total{group=\"\",resource=\"pods\",version=\"v1\"} 1\n"));
    assert!(shown(&requests).contains("apiserver_watch_events_sizes_bucket{group=\"\",resource=\"pods\",version=\"v1\",le=\"2048\"} 1\n"));
    drop(running);
    assert!(shown(&requests).contains(&format!("apiserver_longrunning_requests{series} 0\n")), "{}", shown(&requests));
}

#[test]
fn clients_cannot_invent_series() {
    let requests = Requests::default();
    for path in ["/api/v1/namespaces/a/nonsense-1/x/y", "/nonsense-2", "/apis/nonsense-3/v1/pods", "/api/v1/pods/a/nonsense-4"] {
        let info = RequestInfo::parse(&Method::GET, &path.parse().unwrap());
        let observed = requests.begin(&info);
        requests.end(observed, StatusCode::NOT_FOUND, Duration::ZERO);
    }
    assert!(!shown(&requests).contains("nonsense"), "{}", shown(&requests));
}

#[test]
fn buckets_are_cumulative_and_values_escaped() {
    let mut histogram = Histogram::new(&[1.0, 2.0]);
    [0.5, 1.0, 1.5, 9.0].into_iter().for_each(|value| histogram.observe(value));
    let mut text = Text::default();
    text.buckets("x", &labels(&[("a", "b\"\n")]), &histogram);
    let expected = "x_bucket{a=\"b\\\"\\n\",le=\"1\"} 2\nx_bucket{a=\"b\\\"\\n\",le=\"2\"} 3\nx_bucket{a=\"b\\\"\\n\",le=\"+Inf\"} 4\n\
                    x_sum{a=\"b\\\"\\n\"} 12\nx_count{a=\"b\\\"\\n\"} 4\n";
    assert_eq!(text.finish(), expected);
}
