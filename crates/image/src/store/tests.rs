use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::archive::LoadError;
use super::{Image, ImageUser, Store, StoreError};
use crate::build::Rootfs;
use crate::model::ContainerConfig;
use crate::testing::{Overlay, count, image, leftovers, reopen, store};

mod processes;

fn docker(image: &crate::build::Image, names: &[&str]) -> Vec<u8> {
    let mut archive = Vec::new();
    let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    image.write_docker_archive(&names, &mut archive).unwrap();
    archive
}

fn oci(image: &crate::build::Image, names: &[&str]) -> Vec<u8> {
    let mut archive = Vec::new();
    let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    image.write_oci_archive(&names, &mut archive).unwrap();
    archive
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

async fn load(store: &Store, archive: Vec<u8>) -> Result<Vec<String>, LoadError> {
    store.load_archive(std::io::Cursor::new(archive)).await
}

async fn named(store: &Store, name: &str) -> Image {
    store.get(name).await.unwrap().unwrap_or_else(|| panic!("{name} is not there"))
}

#[tokio::test]
async fn archives_of_both_kinds_are_loaded_compressed_or_not() {
    let image = image(&[&[("/a", "1")], &[("/b", "2")]]);
    for archive in [docker(&image, &["app:1", "app:2"]), oci(&image, &["app:1", "app:2"])] {
        for archive in [archive.clone(), gzip(&archive), zstd::encode_all(archive.as_slice(), 1).unwrap()] {
            let (_directory, store) = store().await;
            let names = load(&store, archive).await.unwrap();
            assert_eq!(names, ["docker.io/library/app:1", "docker.io/library/app:2"]);
            let loaded = named(&store, "app:2").await;
            assert_eq!(loaded.id, image.id());
            assert_eq!(loaded.manifest, image.manifest_digest(), "both kinds give the same manifest");
            assert_eq!(loaded.repo_tags, names);
            assert_eq!(loaded.repo_digests, [""; 0]);
            assert_eq!(loaded.size, image.blobs().map(|(_, content)| content.len() as u64).sum::<u64>());
            let seen = Overlay::mount(&store.rootfs(&loaded).await.unwrap()).listing();
            assert_eq!(seen.keys().collect::<Vec<_>>(), ["a", "b"]);
            assert_eq!(leftovers(&store), [""; 0]);
        }
    }
}

#[tokio::test]
async fn an_image_without_a_name_is_loaded_by_its_id() {
    let image = image(&[&[("/a", "1")]]);
    for archive in [docker(&image, &[]), oci(&image, &[])] {
        let (_directory, store) = store().await;
        assert_eq!(load(&store, archive).await.unwrap(), [image.id().to_string()]);
        let id = image.id();
        assert_eq!(named(&store, &id.to_string()).await.repo_tags, [""; 0]);
        assert_eq!(named(&store, &id.hex()[..12]).await.id, id);
        assert!(store.get("f").await.unwrap().is_none_or(|found| found.id.hex().starts_with('f')));
    }
}

#[tokio::test]
async fn what_is_no_image_archive_is_refused_and_leaves_nothing() {
    let (_directory, store) = store().await;
    let before = count(&store, "blobs/sha256");
    let rootfs = |path: &str, content: &str| Rootfs::new().file(path, content, 0o644).to_tar().unwrap();
    let complete = docker(&image(&[&[("/a", "1")]]), &["app:1"]);
    let wrong_blob = rootfs(&format!("blobs/sha256/{}", "0".repeat(64)), "not that");
    for archive in [
        Vec::new(),
        b"garbage".to_vec(),
        rootfs("some/file", "x"),
        rootfs("manifest.json", "[{\"Config\":\"missing\",\"Layers\":[]}]"),
        rootfs("manifest.json", "{"),
        rootfs("index.json", "{\"schemaVersion\":2,\"manifests\":[]}"),
        wrong_blob,
        complete[..2000].to_vec(),
        gzip(&complete)[..200].to_vec(),
    ] {
        load(&store, archive).await.unwrap_err();
        assert_eq!(leftovers(&store), [""; 0]);
    }
    assert_eq!(store.list().await.unwrap().len(), 2, "only the built-in ones");
    store.collect().await.unwrap();
    assert_eq!(count(&store, "blobs/sha256"), before);
}

#[tokio::test]
async fn a_layer_that_differs_from_its_diff_id_is_not_unpacked() {
    let (_directory, store) = store().await;
    let good = image(&[&[("/a", "1")]]);
    let layers: Vec<_> = good.blobs().map(|(digest, content)| (digest, content.to_vec())).collect();
    let config = String::from_utf8(layers[1].1.clone()).unwrap().replace(layers[0].0.hex(), &"0".repeat(64));
    let mut rootfs = Rootfs::new();
    rootfs.file("layer.tar", layers[0].1.clone(), 0o644).file("config.json", config, 0o644);
    rootfs.file("manifest.json", r#"[{"Config":"config.json","RepoTags":["bad:1"],"Layers":["layer.tar"]}]"#, 0o644);
    load(&store, rootfs.to_tar().unwrap()).await.unwrap();
    let error = store.rootfs(&named(&store, "bad:1").await).await.unwrap_err();
    assert!(matches!(error, StoreError::DigestMismatch { .. }), "{error}");
    assert_eq!(count(&store, "layers"), 0);
    assert_eq!(leftovers(&store), [""; 0]);
}

#[tokio::test]
async fn layers_are_shared_and_collected_with_their_last_image() {
    let (_directory, store) = store().await;
    let blobs = count(&store, "blobs/sha256");
    let base: &[(&str, &str)] = &[("/base", "1")];
    let (first, second) = (image(&[base, &[("/x", "1")]]), image(&[base, &[("/x", "2")]]));
    for (image, name) in [(&first, "first:1"), (&second, "second:1")] {
        load(&store, docker(image, &[name])).await.unwrap();
        store.rootfs(&named(&store, name).await).await.unwrap();
    }
    assert_eq!(count(&store, "layers"), 3);
    let used = store.fs_info().await.unwrap();
    store.remove("first:1").await.unwrap();
    assert!(store.get("first:1").await.unwrap().is_none());
    assert_eq!(count(&store, "layers"), 2);
    assert!(store.fs_info().await.unwrap().used_bytes < used.used_bytes);
    let seen = Overlay::mount(&store.rootfs(&named(&store, "second:1").await).await.unwrap()).listing();
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["base", "x"]);
    store.remove(&second.id().to_string()).await.unwrap();
    store.remove("second:1").await.unwrap();
    assert_eq!((count(&store, "layers"), count(&store, "blobs/sha256")), (0, blobs));
}

#[tokio::test]
async fn names_come_and_go_but_the_image_stays_with_its_last() {
    let (_directory, store) = store().await;
    let built = image(&[&[("/x", "1")]]);
    load(&store, docker(&built, &["app:1"])).await.unwrap();
    store.tag("app:1", "other.example/app:2").await.unwrap();
    assert_eq!(named(&store, "app:1").await.repo_tags, ["docker.io/library/app:1", "other.example/app:2"]);
    store.untag("app:1").await.unwrap();
    assert_eq!(named(&store, "other.example/app:2").await.id, built.id());
    store.untag("other.example/app:2").await.unwrap();
    assert!(store.get(&built.id().to_string()).await.unwrap().is_none());
    store.untag("other.example/app:2").await.unwrap();
    assert!(matches!(store.tag("gone", "x").await, Err(StoreError::NotFound(_))));

    // A tag that moves on leaves the old image without a name, but there.
    load(&store, docker(&built, &["app:1"])).await.unwrap();
    let newer = image(&[&[("/x", "2")]]);
    load(&store, docker(&newer, &["app:1"])).await.unwrap();
    assert_eq!(named(&store, "app:1").await.id, newer.id());
    assert_eq!(named(&store, &built.id().to_string()).await.repo_tags, [""; 0]);
}

#[tokio::test]
async fn what_a_container_uses_outlives_its_image() {
    let (directory, store) = store().await;
    load(&store, docker(&image(&[&[("/x", "1")]]), &["app:1"])).await.unwrap();
    let used = named(&store, "app:1").await;
    store.pin("container-1", &used).await.unwrap();
    let lowers = store.rootfs(&used).await.unwrap();
    store.remove("app:1").await.unwrap();
    assert_eq!(fs::read_to_string(lowers[0].join("x")).unwrap(), "1");
    let again = reopen(directory.path()).await;
    again.collect().await.unwrap();
    assert_eq!(again.pins().await.unwrap(), ["container-1"]);
    assert_eq!(again.rootfs(&used).await.unwrap(), lowers, "still mountable after a restart");
    again.unpin("container-1").await.unwrap();
    again.unpin("container-1").await.unwrap();
    again.collect().await.unwrap();
    assert!(!lowers[0].exists());
    for owner in ["", "../x", ".hidden", "a/b"] {
        assert!(matches!(store.pin(owner, &used).await, Err(StoreError::InvalidOwner(_))));
    }
}

#[tokio::test]
async fn the_built_in_images_are_always_there() {
    let (directory, store) = store().await;
    let pause = named(&store, "corten.local/pause").await;
    for name in ["corten.local/pause:3.10", "corten.local/pause:latest", &pause.repo_digests[0]] {
        assert_eq!(named(&store, name).await.id, pause.id);
        assert_eq!(store.pull(name, Default::default()).await.unwrap().id, pause.id);
    }
    assert!(pause.pinned);
    assert_eq!(pause.config.config.entrypoint, ["/corten-hello", "pause"]);
    assert_eq!(pause.user(), ImageUser::Uid(65535));
    let hello = named(&store, "corten.local/hello:any").await;
    let program = store.rootfs(&hello).await.unwrap().remove(0).join("corten-hello");
    assert_eq!(fs::read(&program).unwrap(), corten_embedded::HELLO);
    assert!(matches!(store.remove("corten.local/hello").await, Err(StoreError::BuiltIn(_))));
    assert!(matches!(store.untag("corten.local/hello").await, Err(StoreError::BuiltIn(_))));
    store.collect().await.unwrap();
    assert!(program.exists());
    assert_eq!(count(&store, "layers"), 1);
    store.rootfs(&pause).await.unwrap();
    assert_eq!(count(&store, "layers"), 1, "the two share their layer");
    drop(store);
    fs::remove_dir_all(directory.path().join("images/images")).unwrap();
    assert_eq!(named(&reopen(directory.path()).await, "corten.local/pause").await.id, pause.id);
}

#[tokio::test]
async fn damaged_files_hide_only_themselves() {
    let (directory, store) = store().await;
    load(&store, docker(&image(&[&[("/x", "1")]]), &["app:1"])).await.unwrap();
    fs::write(store.dir().join("images/garbage.json"), "{").unwrap();
    fs::write(store.dir().join("pins/broken"), "{").unwrap();
    let lost = named(&store, "app:1").await;
    store.rootfs(&lost).await.unwrap();
    fs::remove_file(store.dir().join("blobs/sha256").join(lost.manifest.hex())).unwrap();
    let store = reopen(directory.path()).await;
    assert!(store.get("app:1").await.unwrap().is_none());
    assert!(store.get("corten.local/hello").await.unwrap().is_some());
    store.collect().await.unwrap();
    assert_eq!(count(&store, "layers"), 1, "with an unreadable pin no layer is deleted");
    load(&store, docker(&image(&[&[("/x", "1")]]), &["app:1"])).await.unwrap();
    named(&store, "app:1").await;
}

#[tokio::test]
async fn users_are_split_as_cri_wants_them() {
    for (user, expected) in [
        ("", ImageUser::Uid(0)),
        ("1000", ImageUser::Uid(1000)),
        ("1000:50", ImageUser::Uid(1000)),
        ("www-data:www-data", ImageUser::Name("www-data".into())),
    ] {
        let (_directory, store) = store().await;
        let config = ContainerConfig { user: user.into(), ..ContainerConfig::default() };
        let built = crate::build::Image::new(Rootfs::new().file("/x", "", 0o644), config).unwrap();
        store.import(&built, &["u:1".parse().unwrap()]).unwrap();
        assert_eq!(named(&store, "u:1").await.user(), expected);
    }
}

#[tokio::test]
async fn records_that_were_not_published_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let options = || crate::Options { dir: directory.path().to_owned(), ..Default::default() };
    drop(crate::Store::open(options()).await.unwrap());
    let left = ["pins", "images"].map(|name| directory.path().join(name).join(".left"));
    for path in &left {
        std::fs::write(path, "{").unwrap();
    }
    drop(crate::Store::open(options()).await.unwrap());
    assert!(left.iter().all(|path| !path.exists()), "{left:?}");
}
