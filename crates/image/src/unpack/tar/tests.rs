use std::io::Read;

use super::{Kind, TarError, TarReader};

fn names(archive: &[u8]) -> Result<Vec<(String, Kind)>, TarError> {
    let mut reader = TarReader::new(archive);
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        found.push((String::from_utf8_lossy(&entry.path).into_owned(), entry.kind));
    }
    Ok(found)
}

#[test]
fn archives_of_the_system_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let long = "n".repeat(150);
    std::fs::create_dir(directory.path().join("d")).unwrap();
    std::fs::write(directory.path().join("d").join(&long), "content").unwrap();
    std::os::unix::fs::symlink(format!("{long}/{long}"), directory.path().join("d/link")).unwrap();
    for format in ["gnu", "pax", "ustar", "v7", "oldgnu"] {
        let output = std::process::Command::new("tar")
            .args(["--format", format, "--ignore-failed-read", "-cf", "-", "-C"])
            .arg(directory.path())
            .arg("d")
            .output()
            .unwrap();
        let found = names(&output.stdout).unwrap();
        assert_eq!(found.first().map(|(name, kind)| (name.as_str(), *kind)), Some(("d/", Kind::Directory)), "{format}");
        // The old formats cannot hold the long names, and tar leaves them out.
        if matches!(format, "gnu" | "pax" | "oldgnu") {
            assert!(found.contains(&(format!("d/{long}"), Kind::File)), "{format}: {found:?}");
            assert!(found.contains(&("d/link".to_owned(), Kind::Symlink)), "{format}: {found:?}");
        }
    }
}

#[test]
fn content_is_bounded_by_the_entry() {
    let mut builder = tar::Builder::new(Vec::new());
    for content in ["first", "second"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, content, content.as_bytes()).unwrap();
    }
    let archive = builder.into_inner().unwrap();
    let mut reader = TarReader::new(archive.as_slice());
    reader.next_entry().unwrap().unwrap();
    let mut content = String::new();
    reader.read_to_string(&mut content).unwrap();
    assert_eq!(content, "first");
    assert_eq!(reader.next_entry().unwrap().unwrap().path, b"second");
    assert!(reader.next_entry().unwrap().is_none());
}

#[test]
fn hostile_headers_are_refused() {
    let header = |kind: u8, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_path("x").unwrap();
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    assert!(matches!(names(&header(b'x', 1 << 40)), Err(TarError::ExtensionTooLong(_))));
    assert!(matches!(names(&header(b'L', 1 << 40)), Err(TarError::ExtensionTooLong(_))));
    assert!(matches!(names(&header(b'S', 0)), Err(TarError::Unsupported('S'))));
    assert!(matches!(names(&header(b'0', u64::MAX >> 1)), Err(TarError::Io(_))));
    for records in ["8 path=x\n", "999 path=x\n", "x path=x\n", "4 p=\n5", "18446744073709551616 a=b\n", "0 a=b\n"] {
        let mut archive = header(b'x', records.len() as u64);
        archive.extend_from_slice(records.as_bytes());
        archive.resize(1024, 0);
        archive.extend(header(b'0', 0));
        assert!(names(&archive).is_err(), "{records:?}");
    }
}

/// Any change of any byte of a header gives an error or another archive, never a panic.
#[test]
fn no_byte_makes_it_panic() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("path", b"some/name".as_slice()), ("mtime", b"-1.5".as_slice())]).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    builder.append_data(&mut header, "x", b"abc".as_slice()).unwrap();
    let archive = builder.into_inner().unwrap();
    for at in 0..archive.len().min(2048) {
        for value in [0, b'9', b'=', 0x80, 0xff] {
            let mut changed = archive.clone();
            changed[at] = value;
            // With the checksum made right again, deeper checks are reached.
            let block = at / 512 * 512;
            let sum: u32 = (0..512).map(|i| if (148..156).contains(&i) { 32 } else { u32::from(changed[block + i]) }).sum();
            changed[block + 148..block + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            let _ = names(&changed);
        }
    }
}
