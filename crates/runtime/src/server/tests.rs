use http::Uri;

use super::modern;

#[test]
fn calls_by_the_older_name_go_to_the_current_one() {
    for (path, current) in [
        ("/runtime.v1alpha2.RuntimeService/Version", Some("/runtime.v1.RuntimeService/Version")),
        ("/runtime.v1alpha2.ImageService/ListImages", Some("/runtime.v1.ImageService/ListImages")),
        ("http://localhost/runtime.v1alpha2.ImageService/PullImage", Some("/runtime.v1.ImageService/PullImage")),
        ("/runtime.v1.RuntimeService/Version", None),
        ("/runtime.v1.ImageService/ListImages", None),
        ("/runtime.v1alpha1.RuntimeService/Version", None),
        ("/x/runtime.v1alpha2.RuntimeService/Version", None),
    ] {
        let moved = modern(&path.parse::<Uri>().unwrap());
        assert_eq!(moved.as_ref().map(Uri::path), current, "{path}");
    }
}
