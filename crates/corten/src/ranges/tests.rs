use super::ServiceRanges;

#[test]
fn one_range_or_one_of_each_family() {
    for text in ["10.43.0.0/16", "10.43.0.0/16,fd00:43::/112"] {
        let ranges: ServiceRanges = text.parse().unwrap();
        assert_eq!(ranges.to_string(), text);
        let written = serde_json::to_string(&ranges).unwrap();
        assert_eq!(serde_json::from_str::<ServiceRanges>(&written).unwrap(), ranges);
    }
    for text in ["", "10.43.0.0", "fd00::/112", "fd00::/112,10.43.0.0/16", "10.43.0.0/16,10.44.0.0/16", "10.43.0.0/16,fd00::/48", "a,b,c"] {
        let refused = text.parse::<ServiceRanges>();
        assert!(refused.as_ref().is_err_and(|words| !words.is_empty()), "{text}: {refused:?}");
    }
}
