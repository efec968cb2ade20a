use std::path::Path;

use super::{ElfError, inspect, libraries, parse};

#[test]
fn a_programs_libraries_are_found_and_a_static_one_has_none() {
    let found = libraries(Path::new("/bin/ls"), &[Path::new("/")]).unwrap();
    assert!(found.keys().any(|place| place.contains("/libc.so.")), "{found:?}");
    assert!(found.keys().any(|place| place.contains("/ld-linux")), "{found:?}");
    assert!(found.values().all(|source| source.is_file()));
    // The dynamic loader itself is a library that needs nothing.
    assert!(inspect(found.iter().find(|(place, _)| place.contains("/ld-linux")).unwrap().1).unwrap().needed.is_empty());
    let nowhere = tempfile::tempdir().unwrap();
    assert!(matches!(libraries(Path::new("/bin/ls"), &[nowhere.path()]), Err(ElfError::Missing { .. })));
}

#[test]
fn damaged_files_are_refused_without_panic() {
    assert!(matches!(inspect(Path::new("/etc/passwd")), Err(ElfError::Format(_))));
    let program = std::fs::read("/bin/ls").unwrap();
    for length in (0..4096).step_by(7) {
        let _ = parse(&program[..length.min(program.len())]);
    }
    for at in 0..1024 {
        let mut changed = program.clone();
        changed[at] ^= 0xff;
        let _ = parse(&changed);
    }
}
