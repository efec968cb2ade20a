use std::fs;
use std::io::Read;

use super::PostStop;

#[test]
fn hooks_are_given_to_one_alone() {
    let dir = std::env::temp_dir().join(format!("corten-hooks-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    assert!(PostStop::claim(&dir).unwrap().is_none(), "there are none");
    fs::write(dir.join(PostStop::FILE), "list").unwrap();
    let mut list = String::new();
    PostStop::claim(&dir).unwrap().unwrap().read_to_string(&mut list).unwrap();
    assert_eq!(list, "list");
    assert!(PostStop::claim(&dir).unwrap().is_none(), "somebody has them");
    fs::remove_dir_all(&dir).unwrap();
}
