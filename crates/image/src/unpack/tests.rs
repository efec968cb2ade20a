use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::{UnpackError, Unpacked};
use crate::build::Rootfs;
use crate::digest::{Algorithm, Digest};
use crate::testing::{Overlay, listing};

struct Layers {
    directory: TempDir,
    lowers: Vec<PathBuf>,
}

impl Layers {
    fn new() -> Layers {
        Layers { directory: tempfile::tempdir().unwrap(), lowers: Vec::new() }
    }

    /// Unpacks one more layer on top.
    fn push(&mut self, archive: &[u8]) -> Result<Unpacked, UnpackError> {
        let tree = self.directory.path().join(self.lowers.len().to_string());
        let parents: Vec<&Path> = self.lowers.iter().map(PathBuf::as_path).collect();
        let unpacked = super::layer(archive, Algorithm::Sha256, &tree, &parents)?;
        self.lowers.insert(0, tree);
        Ok(unpacked)
    }

    fn top(&self) -> &Path {
        &self.lowers[0]
    }
}

/// An archive of entries exactly as given, however wrong.
fn raw(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, kind, argument) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_mtime(1);
        let content: &[u8] = if *kind == EntryType::Regular { argument.as_bytes() } else { b"" };
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.as_old_mut().linkname[..argument.len()].copy_from_slice(argument.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Link;
const SYMLINK: EntryType = EntryType::Symlink;
const DIRECTORY: EntryType = EntryType::Directory;

#[test]
fn everything_comes_out_as_it_went_in() {
    let mut rootfs = Rootfs::new();
    rootfs.file("/bin/tool", "content", 0o4755).owner("/bin/tool", 12, 34);
    rootfs.directory("/tmp", 0o1777).symlink("/sbin", "bin").hard_link("/bin/same", "/bin/tool");
    rootfs.file(&format!("/deep/{}/file", "x".repeat(200)), "long", 0o600);
    let archive = rootfs.to_tar().unwrap();
    let mut layers = Layers::new();
    let unpacked = layers.push(&archive).unwrap();
    assert_eq!(unpacked.diff_id, Digest::of(&archive));
    // The root, /bin, /tmp, /deep, /deep/x…, two files and a link; the hard link shares an inode.
    assert_eq!(unpacked.inodes, 8);
    let found = listing(layers.top());
    assert_eq!(found["bin/tool"], "4755 12:34 \"content\"");
    assert_eq!(found["tmp"], "1777 0:0 dir");
    assert_eq!(found["sbin"], "777 0:0 -> bin");
    assert_eq!(found[&format!("deep/{}/file", "x".repeat(200))], "600 0:0 \"long\"");
    let inode = |path: &str| fs::metadata(layers.top().join(path)).unwrap().ino();
    assert_eq!(inode("bin/tool"), inode("bin/same"));
    assert_eq!(fs::metadata(layers.top().join("bin")).unwrap().mtime(), 0, "times of directories are set last");
}

#[test]
fn compressed_layers_are_known_by_their_content() {
    let archive = Rootfs::new().file("/a", "b", 0o644).to_tar().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive).unwrap();
    for packed in [archive.clone(), gzip.finish().unwrap(), zstd::encode_all(archive.as_slice(), 1).unwrap()] {
        let mut layers = Layers::new();
        assert_eq!(layers.push(&packed).unwrap().diff_id, Digest::of(&archive));
        assert_eq!(listing(layers.top())["a"], "644 0:0 \"b\"");
    }
}

#[test]
fn whiteouts_hide_what_is_below_in_a_real_overlay() {
    let mut below = Rootfs::new();
    below.file("/gone", "1", 0o644).file("/kept", "1", 0o644);
    below.file("/opaque/old", "1", 0o644).file("/again/old", "1", 0o644).file("/deleted/old", "1", 0o644);
    below.directory("/tmp", 0o1777).owner("/tmp", 5, 6);
    let mut above = Rootfs::new();
    above.whiteout("/gone").whiteout("/deleted").whiteout("/never-was");
    above.opaque("/opaque").file("/opaque/new", "2", 0o644);
    // `/again` is deleted and made anew in the same layer: nothing old may shine through.
    above.whiteout("/again").file("/again/new", "2", 0o644);
    above.file("/tmp/x", "2", 0o644);
    let mut layers = Layers::new();
    layers.push(&below.to_tar().unwrap()).unwrap();
    // Parents that the archive only implies must look as below, so this one comes without its directories.
    let implied = raw(&[("tmp/y", FILE, "2")]);
    layers.push(&implied).unwrap();
    assert_eq!(listing(layers.top())["tmp"], "1777 5:6 dir");
    layers.push(&above.to_tar().unwrap()).unwrap();
    let seen = Overlay::mount(&layers.lowers).listing();
    let names: Vec<_> = seen.keys().map(String::as_str).collect();
    assert_eq!(names, ["again", "again/new", "kept", "opaque", "opaque/new", "tmp", "tmp/x", "tmp/y"]);
}

#[test]
fn an_own_file_is_not_hidden_by_the_same_layers_whiteout() {
    let mut layers = Layers::new();
    layers.push(&raw(&[("d/old", FILE, "1"), ("f", FILE, "1")])).unwrap();
    layers.push(&raw(&[("d/new", FILE, "2"), (".wh.d", FILE, ""), ("f", FILE, "2"), (".wh.f", FILE, "")])).unwrap();
    let seen = Overlay::mount(&layers.lowers).listing();
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["d", "d/new", "f"]);
    assert!(seen["f"].ends_with("\"2\""));
}

#[test]
fn a_hard_link_to_a_lower_file_brings_it_up() {
    let mut layers = Layers::new();
    layers.push(&raw(&[("usr/bin/tool", FILE, "tool")])).unwrap();
    layers.push(&raw(&[("usr/bin/alias", LINK, "usr/bin/tool")])).unwrap();
    assert_eq!(fs::read_to_string(layers.top().join("usr/bin/alias")).unwrap(), "tool");
}

#[test]
fn later_entries_replace_earlier_ones() {
    let mut layers = Layers::new();
    let archive = raw(&[
        ("a/b/c", FILE, "deep"),
        ("a", FILE, "file now"),
        ("x", SYMLINK, "a"),
        ("x/", DIRECTORY, ""),
        ("x/y", FILE, "in a real directory"),
        ("same", FILE, "1"),
        ("same", FILE, "2"),
    ]);
    layers.push(&archive).unwrap();
    let found = listing(layers.top());
    assert!(found["a"].ends_with("\"file now\""));
    assert!(found["x"].ends_with("dir"));
    assert!(found["x/y"].ends_with("directory\""));
    assert!(found["same"].ends_with("\"2\""));
}

#[test]
fn nothing_leaves_the_layer() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "untouched").unwrap();
    let absolute = outside.path().to_str().unwrap();
    let attacks: Vec<Vec<u8>> = vec![
        raw(&[("../evil", FILE, "x")]),
        raw(&[("a/../../evil", FILE, "x")]),
        raw(&[("link", SYMLINK, absolute), ("link/secret", FILE, "x"), ("link/new", FILE, "x")]),
        raw(&[("link", SYMLINK, "../../../../../../../../../../tmp"), ("link/evil-of-corten", FILE, "x")]),
        raw(&[("hard", LINK, "../../../../../../../../../../etc/passwd")]),
        raw(&[("link", SYMLINK, absolute), ("hard", LINK, "link/secret"), ("hard", FILE, "x")]),
        raw(&[("link", SYMLINK, absolute), ("link/.wh.secret", FILE, "")]),
        raw(&[("link", SYMLINK, absolute), ("link/.wh..wh..opq", FILE, "")]),
        raw(&[("file", FILE, "x"), ("file/under", FILE, "x")]),
        raw(&[("loop", SYMLINK, "loop"), ("loop/x", FILE, "x")]),
        raw(&[(".wh...", FILE, "")]),
        raw(&[("proc", SYMLINK, "/proc/self/root"), ("proc/evil-of-corten", FILE, "x")]),
    ];
    for attack in &attacks {
        // Refused or contained, but never outside.
        let _ = Layers::new().push(attack);
        assert_eq!(fs::read_to_string(&secret).unwrap(), "untouched");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        assert!(!Path::new("/tmp/evil-of-corten").exists() && !Path::new("/evil-of-corten").exists());
    }
    assert!(matches!(Layers::new().push(&attacks[0]), Err(UnpackError::Outside(_))));
    assert!(matches!(Layers::new().push(&attacks[4]), Err(UnpackError::Outside(_))));
}

#[test]
fn a_link_through_the_root_stays_in_the_layer() {
    let mut layers = Layers::new();
    layers.push(&raw(&[("real/", DIRECTORY, ""), ("link", SYMLINK, "/real"), ("link/file", FILE, "x")])).unwrap();
    assert_eq!(fs::read_to_string(layers.top().join("real/file")).unwrap(), "x");
}

#[test]
fn capabilities_and_devices_are_kept_and_the_overlays_own_attributes_refused() {
    let capability: &[u8] = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let mut builder = Builder::new(Vec::new());
    builder
        .append_pax_extensions([
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.note", b"line\nline".as_slice()),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc".as_slice()),
            ("mtime", b"1234567890.5".as_slice()),
        ])
        .unwrap();
    let mut header = Header::new_ustar();
    header.set_mode(0o755);
    header.set_size(2);
    builder.append_data(&mut header, "ping", b"ok".as_slice()).unwrap();
    let mut device = Header::new_ustar();
    device.set_entry_type(EntryType::Char);
    device.set_mode(0o666);
    device.set_device_major(1).unwrap();
    device.set_device_minor(3).unwrap();
    device.set_size(0);
    builder.append_data(&mut device, "dev/null", io::empty()).unwrap();
    let mut layers = Layers::new();
    layers.push(&builder.into_inner().unwrap()).unwrap();
    let ping = layers.top().join("ping");
    let mut value = vec![0; 64];
    let length = rustix::fs::getxattr(&ping, "security.capability", value.as_mut_slice()).unwrap();
    assert_eq!(&value[..length], capability);
    let length = rustix::fs::getxattr(&ping, "user.note", value.as_mut_slice()).unwrap();
    assert_eq!(&value[..length], b"line\nline");
    assert!(rustix::fs::getxattr(&ping, "trusted.overlay.redirect", value.as_mut_slice()).is_err());
    let metadata = fs::metadata(&ping).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_234_567_890, 500_000_000));
    let null = fs::metadata(layers.top().join("dev/null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(null.rdev(), rustix::fs::makedev(1, 3));
    assert_eq!(null.mode() & 0o777, 0o666);
}

#[test]
fn damaged_layers_are_errors() {
    let archive = raw(&[("a", FILE, &"content ".repeat(1000))]);
    assert!(matches!(Layers::new().push(&archive[..2000]), Err(UnpackError::Decompress(_))));
    assert!(matches!(Layers::new().push(&archive[..300]), Err(UnpackError::Tar(_))));
    assert!(matches!(Layers::new().push(&[7; 4096]), Err(UnpackError::Tar(_))));
    let zstd = zstd::encode_all(archive.as_slice(), 1).unwrap();
    assert!(Layers::new().push(&zstd[..zstd.len() - 5]).is_err());
    // Nothing at all is an empty layer.
    assert_eq!(Layers::new().push(&[]).unwrap().inodes, 1);
}
