use prost::Message as _;

use crate::v1;

#[test]
fn credentials_stay_out_of_debug_output() {
    let auth =
        v1::AuthConfig { username: "jane".into(), password: "hunter2".into(), identity_token: "sesame".into(), ..Default::default() };
    let text = format!("{auth:?}");
    assert!(text.contains("jane"));
    assert!(!text.contains("hunter2") && !text.contains("sesame"));
}

#[test]
fn field_numbers_are_those_of_the_interface() {
    // Spot checks by hand-encoded bytes, where the numbers are out of order in the definition.
    let spec = v1::ImageSpec { user_specified_image: "a".into(), ..Default::default() };
    assert_eq!(spec.encode_to_vec(), [0x92, 0x01, 1, b'a']); // field 18
    let context = v1::LinuxContainerSecurityContext { no_new_privs: true, ..Default::default() };
    assert_eq!(context.encode_to_vec(), [0x58, 1]); // field 11
    let config = v1::ContainerConfig { stop_signal: v1::Signal::Sigrtmax as i32, ..Default::default() };
    assert_eq!(config.encode_to_vec(), [0x90, 0x01, 65]); // field 18
}

#[tokio::test]
async fn connecting_to_nobody_is_an_error_that_names_the_socket() {
    let path = std::path::Path::new("/nonexistent/cri.sock");
    let error = crate::connect(path).await.err().map(|e| e.to_string());
    assert!(error.is_some_and(|e| e.contains("cri.sock")));
}
