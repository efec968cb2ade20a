use super::*;

fn payload(files: &[(&str, &str)]) -> Payload {
    files
        .iter()
        .map(|(path, text)| {
            let file = File { data: text.as_bytes().to_vec(), mode: 0o644, uid: None };
            ((*path).to_owned(), file)
        })
        .collect()
}

fn visible(target: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(target).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).filter(|n| !n.starts_with("..")).collect();
    names.sort();
    names
}

#[test]
fn files_appear_change_and_vanish_by_one_swap() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path();
    assert!(write(target, &payload(&[("a", "1"), ("d/e", "2")]), None).unwrap());
    assert_eq!(visible(target), ["a", "d"]);
    assert_eq!(fs::read_to_string(target.join("d/e")).unwrap(), "2");
    let first = fs::read_link(target.join(DATA)).unwrap();

    assert!(!write(target, &payload(&[("a", "1"), ("d/e", "2")]), None).unwrap());
    assert_eq!(fs::read_link(target.join(DATA)).unwrap(), first);

    assert!(write(target, &payload(&[("a", "new")]), None).unwrap());
    assert_eq!(visible(target), ["a"]);
    assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "new");
    assert!(!target.join(first).exists());
}

#[test]
fn a_reader_of_the_old_files_is_not_disturbed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &payload(&[("a", "old")]), None).unwrap();
    let open = fs::File::open(dir.path().join("a")).unwrap();
    write(dir.path(), &payload(&[("a", "new")]), None).unwrap();
    assert_eq!(io::read_to_string(open).unwrap(), "old");
}

#[test]
fn modes_are_part_of_the_content() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = payload(&[("a", "1")]);
    write(dir.path(), &files, None).unwrap();
    files.get_mut("a").unwrap().mode = 0o400;
    assert!(write(dir.path(), &files, None).unwrap());
    let mode = fs::metadata(dir.path().join("a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o400);
}

#[test]
fn a_crash_between_the_steps_is_repaired() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &payload(&[("a", "1")]), None).unwrap();
    // Left behind: a half-written directory and a staged link.
    fs::create_dir(dir.path().join("..2020_01_01_00_00_00.1")).unwrap();
    symlink("..nowhere", dir.path().join(NEW_DATA)).unwrap();
    assert!(write(dir.path(), &payload(&[("b", "2")]), None).unwrap());
    assert_eq!(visible(dir.path()), ["b"]);
    assert!(!dir.path().join("..2020_01_01_00_00_00.1").exists());
}

#[test]
fn paths_that_leave_the_volume_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["", "/etc/passwd", "../x", "a/../../x", "..data", "./a"] {
        assert!(write(dir.path(), &payload(&[(path, "x")]), None).is_err(), "{path}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
