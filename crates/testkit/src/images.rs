//! Fixture images, made of Debian's packages by the platform's own image code: no registry and no other engine is needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use corten_image::build::{Image, Rootfs, elf};
use corten_image::model::Empty;
use corten_image::{ContainerConfig, Digest, Reference};

use crate::debs::Packages;
use crate::packages::{self, exclusive};
use crate::run;

/// Part of every archive's name: raise it when a recipe below changes in a way that its texts do not show.
const RECIPE: &str = "1";

const NGINX_CONF: &str = include_str!("images/nginx.conf");
const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A `docker save` archive of a real nginx, built like Docker's image of that name (foreground, logs to standard output and error, port 80, stopped by
/// `SIGQUIT`), with busybox for a shell. `tag` is the image's name, `nginx:1.14.2`; other tags give other images, as a rolling update needs. The
/// program itself is Debian's.
///
/// # Errors
/// If a package cannot be downloaded or unpacked.
pub fn nginx_archive(cache: &Path, tag: &str) -> Result<PathBuf> {
    archive(cache, tag, &[RECIPE, NGINX_CONF, PASSWD, GROUP], |packages| nginx(packages, tag))
}

/// A `docker save` archive `busybox:1.36` of Debian's static busybox with links for all its applets.
///
/// # Errors
/// If the package cannot be downloaded or unpacked.
pub fn busybox_archive(cache: &Path) -> Result<PathBuf> {
    archive(cache, "busybox:1.36", &[RECIPE, PASSWD, GROUP], busybox)
}

/// A small image of this machine's static busybox with links for some applets, the users `root` and `user` (1000, with the groups 1001 and 1002).
///
/// # Errors
/// If busybox cannot be installed or read.
pub fn small(applets: &[&str]) -> Result<Image> {
    let program = Path::new("/bin/busybox");
    if !program.exists() {
        packages::install(&["busybox-static"], "the programs inside containers")?;
    }
    let mut rootfs = Rootfs::new();
    rootfs.host_file("/bin/busybox", program)?;
    for applet in applets {
        rootfs.symlink(&format!("/bin/{applet}"), "busybox");
    }
    rootfs
        .file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nuser:x:1000:1001::/home/user:/bin/sh\n", 0o644)
        .file("/etc/group", "root:x:0:\nuser:x:1001:\nextra:x:1002:user\n", 0o644)
        .directory("/tmp", 0o1777)
        .directory("/root", 0o700);
    let config = ContainerConfig { cmd: vec!["sh".to_owned()], env: vec!["PATH=/bin".to_owned()], ..ContainerConfig::default() };
    Ok(Image::new(&rootfs, config)?)
}

/// `docker save` archives of the platform's own images, for container runtimes that do not have them built in.
///
/// # Errors
/// If they cannot be written.
pub fn built_in_archives(directory: &Path) -> Result<Vec<PathBuf>> {
    let archive = |(name, image): (Reference, Image)| {
        let path = directory.join(format!("{}.tar", image.id().hex()));
        let file = fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        image.write_docker_archive(&[name], file)?;
        Ok(path)
    };
    corten_image::built_in()?.into_iter().map(archive).collect()
}

/// The archive from the cache, or made anew when there is none of this recipe.
fn archive(cache: &Path, tag: &str, recipe: &[&str], make: impl FnOnce(&Packages<'_>) -> Result<Image>) -> Result<PathBuf> {
    let name: Reference = tag.parse()?;
    let version = Digest::of(recipe.join("\0").as_bytes());
    let file = tag.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
    let path = cache.join(format!("{file}-{}.tar", version.hex().get(..12).unwrap_or_default()));
    if path.exists() {
        return Ok(path);
    }
    let _alone = exclusive("images")?;
    if path.exists() {
        return Ok(path);
    }
    println!("making image {tag} of Debian packages (once; kept as {})", path.display());
    let image = make(&Packages::new(cache))?;
    // Renamed when whole: an interrupted run must not leave half an archive behind.
    let mut unfinished = tempfile::NamedTempFile::new_in(cache)?;
    image.write_docker_archive(&[name], &mut unfinished)?;
    unfinished.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn nginx(packages: &Packages<'_>, tag: &str) -> Result<Image> {
    let unpacked = packages.unpack(&["nginx-light", "busybox-static"], |name| {
        name == "nginx" || name == "nginx-common" || name == "zlib1g" || name.starts_with("lib") && !name.starts_with("libnginx-mod")
    })?;
    let tree = unpacked.path();
    let program = tree.join("usr/sbin/nginx");
    let mut rootfs = base(tree)?;
    rootfs.host_file("/usr/sbin/nginx", &program)?;
    for (place, source) in elf::libraries(&program, &[tree, Path::new("/")])? {
        rootfs.host_file(&place, &source)?;
    }
    rootfs.file("/etc/nginx/nginx.conf", NGINX_CONF, 0o644);
    rootfs.host_file("/etc/nginx/mime.types", &tree.join("etc/nginx/mime.types"))?;
    rootfs.directory("/etc/nginx/conf.d", 0o755);
    rootfs.file("/usr/share/nginx/html/index.html", page(tag), 0o644);
    rootfs.symlink("/var/log/nginx/access.log", "/dev/stdout").symlink("/var/log/nginx/error.log", "/dev/stderr");
    rootfs.directory("/var/lib/nginx", 0o755).directory("/run", 0o755);
    let config = ContainerConfig {
        cmd: ["nginx", "-g", "daemon off;"].map(str::to_owned).to_vec(),
        env: vec![PATH.to_owned()],
        exposed_ports: [("80/tcp".to_owned(), Empty {})].into(),
        stop_signal: "SIGQUIT".to_owned(),
        labels: [("org.opencontainers.image.title".to_owned(), tag.to_owned())].into(),
        ..ContainerConfig::default()
    };
    Ok(Image::new(&rootfs, config)?)
}

fn page(tag: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head>\n<body><h1>Welcome to nginx!</h1><p>{tag}</p></body></html>\n"
    )
}

fn busybox(packages: &Packages<'_>) -> Result<Image> {
    let unpacked = packages.unpack(&["busybox-static"], |_| false)?;
    let config = ContainerConfig { cmd: vec!["sh".to_owned()], env: vec![PATH.to_owned()], ..ContainerConfig::default() };
    Ok(Image::new(&base(unpacked.path())?, config)?)
}

/// A root file system with a shell, users and the usual directories.
fn base(tree: &Path) -> Result<Rootfs> {
    let program = tree.join("bin/busybox");
    let mut list = Command::new(&program);
    list.arg("--list");
    let applets = run(list)?.check()?;
    ensure!(!applets.is_empty(), "busybox has no applets");
    let mut rootfs = Rootfs::new();
    rootfs.host_file("/bin/busybox", &program)?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        rootfs.symlink(&format!("/bin/{applet}"), "busybox");
    }
    rootfs.file("/etc/passwd", PASSWD, 0o644).file("/etc/group", GROUP, 0o644);
    rootfs.directory("/root", 0o700).directory("/tmp", 0o1777).directory("/var/tmp", 0o1777).directory("/home", 0o755);
    Ok(rootfs)
}

#[cfg(test)]
mod tests;
