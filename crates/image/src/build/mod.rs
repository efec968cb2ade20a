//! Images made of files: the built-in ones, and fixtures for tests. The same input gives the same digests.

pub mod elf;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::model::{ContainerConfig, Descriptor, ImageConfiguration, Index, Manifest, RootFs, media_type};
use crate::platform;
use crate::reference::Reference;
use crate::store::Store;
use crate::store::StoreError;

/// A file tree to be, in memory or on disk.
#[derive(Clone, Debug, Default)]
pub struct Rootfs {
    nodes: BTreeMap<String, Node>,
}

#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    mode: u32,
    uid: u64,
    gid: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    Directory,
    Bytes(Vec<u8>),
    HostFile(PathBuf),
    Symlink(String),
    HardLink(String),
    Whiteout,
    Opaque,
}

/// Parents that nobody mentions.
const IMPLIED_DIRECTORY: Node = Node { kind: Kind::Directory, mode: 0o755, uid: 0, gid: 0 };

/// All times in layers are this, so that the same files give the same digest.
const MODIFIED: u64 = 0;

impl Rootfs {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Rootfs {
        Rootfs::default()
    }

    /// A directory with its permission bits. Missing parents come by themselves.
    pub fn directory(&mut self, path: &str, mode: u32) -> &mut Rootfs {
        self.put(path, Kind::Directory, mode)
    }

    /// A file from memory.
    pub fn file(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> &mut Rootfs {
        self.put(path, Kind::Bytes(content.into()), mode)
    }

    /// A file of this machine, read when the image is made; its permission bits are kept, its owner is root.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub fn host_file(&mut self, path: &str, source: &Path) -> io::Result<&mut Rootfs> {
        let mode = fs::metadata(source)?.permissions().mode() & 0o7777;
        Ok(self.put(path, Kind::HostFile(source.to_owned()), mode))
    }

    /// A whole directory of this machine: files, directories and symbolic links; everything else is left out.
    ///
    /// # Errors
    /// If something in it cannot be read.
    pub fn host_tree(&mut self, path: &str, source: &Path) -> io::Result<&mut Rootfs> {
        self.directory(path, fs::metadata(source)?.permissions().mode() & 0o7777);
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| io::Error::other(format!("{}: name is not UTF-8", entry.path().display())))?;
            let inside = format!("{path}/{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.host_tree(&inside, &entry.path())?;
            } else if kind.is_file() {
                self.host_file(&inside, &entry.path())?;
            } else if kind.is_symlink() {
                self.symlink(&inside, &fs::read_link(entry.path())?.to_string_lossy());
            }
        }
        Ok(self)
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Rootfs {
        self.put(path, Kind::Symlink(target.to_owned()), 0o777)
    }

    /// A hard link to another file of this tree.
    pub fn hard_link(&mut self, path: &str, target: &str) -> &mut Rootfs {
        let target = clean(target);
        self.put(path, Kind::HardLink(target), 0o644)
    }

    /// Marks a path of the layers below as deleted.
    pub fn whiteout(&mut self, path: &str) -> &mut Rootfs {
        self.put(path, Kind::Whiteout, 0o644)
    }

    /// Marks everything that layers below have in this directory as deleted.
    pub fn opaque(&mut self, path: &str) -> &mut Rootfs {
        let marker = format!("{path}/.wh..wh..opq");
        self.put(&marker, Kind::Opaque, 0o644)
    }

    /// Changes the owner of a path that was added before.
    pub fn owner(&mut self, path: &str, uid: u64, gid: u64) -> &mut Rootfs {
        if let Some(node) = self.nodes.get_mut(&clean(path)) {
            (node.uid, node.gid) = (uid, gid);
        }
        self
    }

    /// Whether the tree has this path itself.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(&clean(path))
    }

    fn put(&mut self, path: &str, kind: Kind, mode: u32) -> &mut Rootfs {
        let path = clean(path);
        if !path.is_empty() {
            self.nodes.insert(path, Node { kind, mode, uid: 0, gid: 0 });
        }
        self
    }

    /// The tree as an uncompressed layer.
    ///
    /// # Errors
    /// If a host file cannot be read.
    pub fn to_tar(&self) -> io::Result<Vec<u8>> {
        let mut nodes = self.nodes.clone();
        for path in self.nodes.keys() {
            for (end, _) in path.match_indices('/') {
                let parent = path.get(..end).unwrap_or_default();
                nodes.entry(parent.to_owned()).or_insert(IMPLIED_DIRECTORY);
            }
        }
        let mut archive = tar::Builder::new(Vec::new());
        // Hard links come after what they point to.
        let (links, others): (Vec<_>, Vec<_>) = nodes.iter().partition(|(_, node)| matches!(node.kind, Kind::HardLink(_)));
        for (path, node) in others.into_iter().chain(links) {
            append(&mut archive, path, node)?;
        }
        archive.into_inner()
    }
}

/// Without leading, trailing and doubled slashes.
fn clean(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

fn append<W: Write>(archive: &mut tar::Builder<W>, path: &str, node: &Node) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(node.mode);
    header.set_uid(node.uid);
    header.set_gid(node.gid);
    header.set_mtime(MODIFIED);
    header.set_size(0);
    match &node.kind {
        Kind::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            archive.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Kind::Bytes(content) => append_file(archive, &mut header, path, content.len() as u64, content.as_slice()),
        Kind::HostFile(source) => {
            let file = fs::File::open(source).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", source.display())))?;
            let length = file.metadata()?.len();
            append_file(archive, &mut header, path, length, file.take(length))
        }
        Kind::Symlink(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            archive.append_link(&mut header, path, target)
        }
        Kind::HardLink(target) => {
            header.set_entry_type(tar::EntryType::Link);
            archive.append_link(&mut header, path, target)
        }
        Kind::Whiteout => {
            let (parent, name) = path.rsplit_once('/').map_or((String::new(), path), |(parent, name)| (format!("{parent}/"), name));
            append_file(archive, &mut header, &format!("{parent}.wh.{name}"), 0, io::empty())
        }
        Kind::Opaque => append_file(archive, &mut header, path, 0, io::empty()),
    }
}

fn append_file<W: Write>(
    archive: &mut tar::Builder<W>,
    header: &mut tar::Header,
    path: &str,
    length: u64,
    content: impl Read,
) -> io::Result<()> {
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(length);
    archive.append_data(header, path, content)
}

/// A finished image in memory.
#[derive(Clone, Debug)]
pub struct Image {
    layers: Vec<Vec<u8>>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Image {
    /// An image of one layer for this machine's platform.
    ///
    /// # Errors
    /// If a host file cannot be read.
    pub fn new(rootfs: &Rootfs, config: ContainerConfig) -> io::Result<Image> {
        Image::layered(std::slice::from_ref(rootfs), config)
    }

    /// An image of several layers, lowest first.
    ///
    /// # Errors
    /// If a host file cannot be read.
    pub fn layered(layers: &[Rootfs], config: ContainerConfig) -> io::Result<Image> {
        let layers = layers.iter().map(Rootfs::to_tar).collect::<io::Result<Vec<_>>>()?;
        let configuration = ImageConfiguration {
            created: Some("1970-01-01T00:00:00Z".to_owned()),
            platform: platform::host(),
            config,
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: layers.iter().map(|layer| Digest::of(layer)).collect() },
        };
        let config = serde_json::to_vec(&configuration)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST.to_owned(),
            config: descriptor(media_type::OCI_CONFIG, &config),
            layers: layers.iter().map(|layer| descriptor(media_type::OCI_LAYER, layer)).collect(),
        };
        Ok(Image { manifest: serde_json::to_vec(&manifest)?, config, layers })
    }

    /// The manifest's digest.
    #[must_use]
    pub fn manifest_digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// The image's id: the digest of its configuration.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    /// Every blob with its digest; the manifest is the last.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, &[u8])> {
        self.layers.iter().chain([&self.config, &self.manifest]).map(|content| (Digest::of(content), content.as_slice()))
    }

    /// Writes what `docker save` writes: `manifest.json`, the configuration and the layers, under the given `repository:tag` names.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_docker_archive(&self, names: &[Reference], out: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(out);
        let mut paths = Vec::new();
        for layer in &self.layers {
            let path = format!("{}/layer.tar", Digest::of(layer).hex());
            plain_file(&mut archive, &path, layer)?;
            paths.push(path);
        }
        let config = format!("{}.json", self.id().hex());
        plain_file(&mut archive, &config, &self.config)?;
        let tags: Vec<_> = names.iter().map(familiar).collect();
        let manifest = serde_json::json!([{ "Config": config, "RepoTags": tags, "Layers": paths }]);
        plain_file(&mut archive, "manifest.json", &serde_json::to_vec(&manifest)?)?;
        archive.into_inner()?.flush()
    }

    /// Writes an OCI image layout as a tar archive, one index entry per name (or one without a name).
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_oci_archive(&self, names: &[Reference], out: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(out);
        plain_file(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        for (digest, content) in self.blobs() {
            plain_file(&mut archive, &format!("blobs/sha256/{}", digest.hex()), content)?;
        }
        let unnamed = Descriptor { platform: Some(platform::host()), ..descriptor(media_type::OCI_MANIFEST, &self.manifest) };
        let mut manifests: Vec<_> = names.iter().map(|name| named(&unnamed, name)).collect();
        if manifests.is_empty() {
            manifests.push(unnamed);
        }
        let index = Index { schema_version: 2, media_type: media_type::OCI_INDEX.to_owned(), manifests };
        plain_file(&mut archive, "index.json", &serde_json::to_vec(&index)?)?;
        archive.into_inner()?.flush()
    }
}

impl Store {
    /// Puts an image that was built in memory straight into the store, under the given names.
    ///
    /// # Errors
    /// If a file operation fails.
    pub fn import(&self, image: &Image, names: &[Reference]) -> Result<(), StoreError> {
        let names: Vec<_> = names.iter().map(crate::store::lookup_name).collect();
        self.write_image(image, &names)
    }
}

/// The annotations by which containerd and Docker find a name in an OCI layout.
fn named(manifest: &Descriptor, name: &Reference) -> Descriptor {
    let mut manifest = manifest.clone();
    manifest.annotations.insert("io.containerd.image.name".to_owned(), name.to_string());
    if let Some(tag) = name.tag() {
        manifest.annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag.to_owned());
    }
    manifest
}

/// The short form that Docker writes: without the default registry.
fn familiar(name: &Reference) -> String {
    let name = name.to_string();
    let short = name.strip_prefix("docker.io/").unwrap_or(&name);
    short.strip_prefix("library/").unwrap_or(short).to_owned()
}

fn descriptor(media_type: &str, content: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(content),
        size: content.len() as u64,
        annotations: BTreeMap::new(),
        platform: None,
    }
}

fn plain_file<W: Write>(archive: &mut tar::Builder<W>, path: &str, content: &[u8]) -> io::Result<()> {
    append(archive, path, &Node { kind: Kind::Bytes(content.to_vec()), mode: 0o644, uid: 0, gid: 0 })
}

#[cfg(test)]
mod tests;
