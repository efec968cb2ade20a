//! Objects of single kinds: completed and checked, whatever is in them.

/// Words that lead into the checks of a pod.
pub const POD_WORDS: &[&str] = &[
    "\"restartPolicy\":\"Always\",",
    "\"hostNetwork\":true,",
    "\"os\":{\"name\":\"windows\"},",
    "\"matchLabelKeys\":[\"app\"],",
    "hugepages-2Mi",
    "-1",
    "9223372036854775807",
    "1e999",
    "..",
    "\"\"",
];

/// A pod.
pub fn pod(data: &[u8]) {
    corten_apiserver::fuzzing::pod(data);
}
