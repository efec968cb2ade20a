//! A kubelet of the reference, compiled from Debian's sources. 1.20 is the newest that Debian has whole; later ones are cut down to
//! the client.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::debs::{Packages, mirror};
use crate::packages::{cache, exclusive};
use crate::run;

const SOURCES: &str = "pool/main/k/kubernetes/kubernetes_1.20.5+really1.20.2.orig.tar.gz";
const CHECKSUM: &str = "SHA256:b83c0780efb182d928dc63d46488a847f161f04e40a94b96bf5247dd671ecdfc";
/// What the sources unpack to.
const DIRECTORY: &str = "kubernetes-1.20.2";

/// Where it connects to the runtime. Kubelets since 1.26 name the authority `localhost` there; before, gRPC sent the socket's path
/// as one, which HTTP/2 does not allow.
const CLIENTS: &[&str] = &["pkg/kubelet/cri/remote/remote_image.go", "pkg/kubelet/cri/remote/remote_runtime.go"];
const CONNECTS: &str = "grpc.WithInsecure()";
const NAMED: &str = "grpc.WithInsecure(), grpc.WithAuthority(\"localhost\")";

/// The kubelet's program. Compiling it takes some minutes, once.
///
/// # Errors
///
/// If the sources or the compiler cannot be had.
pub fn kubelet() -> Result<PathBuf> {
    let cache = cache()?;
    let _alone = exclusive("kubelet-1.20")?;
    let kept = cache.join("kubelet-1.20");
    if !kept.is_file() {
        let go = Packages::new(cache).kept("golang-1.19", &["golang-1.19-go", "golang-1.19-src"])?.join("usr/lib/go-1.19");
        let work = tempfile::tempdir_in(cache)?;
        let parent = work.path().join("path/src/k8s.io");
        std::fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
        let archive = work.path().join("sources.tar.gz");
        println!("compiling a kubelet of the reference from Debian's sources");
        let mut download = Command::new("/usr/lib/apt/apt-helper");
        download
            .args(["-o", "APT::Sandbox::User=root", "download-file"])
            .arg(format!("{}/{SOURCES}", mirror()?))
            .arg(&archive)
            .arg(CHECKSUM);
        run(download)?.check()?;
        let mut unpack = Command::new("tar");
        unpack.arg("-xzf").arg(&archive).arg("-C").arg(&parent);
        run(unpack)?.check()?;
        let sources = parent.join("kubernetes");
        std::fs::rename(parent.join(DIRECTORY), &sources).with_context(|| format!("there is no {DIRECTORY} in the sources"))?;
        for client in CLIENTS {
            let path = sources.join(client);
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            ensure!(text.contains(CONNECTS), "{} does not connect by {CONNECTS}", path.display());
            std::fs::write(&path, text.replace(CONNECTS, NAMED)).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let program = work.path().join("kubelet");
        let mut compile = Command::new(go.join("bin/go"));
        compile.args(["build", "-tags", "providerless,dockerless", "-o"]).arg(&program).arg("./cmd/kubelet").current_dir(&sources);
        compile.env("GOROOT", &go).env("GOPATH", work.path().join("path")).env("GOCACHE", work.path().join("cache"));
        compile.env("GO111MODULE", "off").env("CGO_ENABLED", "0");
        run(compile)?.check()?;
        std::fs::rename(&program, &kept).with_context(|| format!("cannot move the kubelet to {}", kept.display()))?;
    }
    Ok(kept)
}
