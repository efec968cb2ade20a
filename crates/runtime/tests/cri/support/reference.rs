//! The reference: the same tests against Debian's containerd, so that a wrong expectation of ours shows.

use std::fs;
use std::io::Read;

use corten_network::cni::{Invocation, run};
use corten_testkit::Enclosure;
use corten_testkit::containerd::{Containerd, Version};

use super::daemon::{IMAGE, busybox};

/// Makes each function a test on every runtime. A function gets a node.
macro_rules! everywhere {
    ($($test:ident),+ $(,)?) => {
        mod corten {
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(crate::support::Node::start().await).await; })+
        }
        mod containerd_1_6 {
            use corten_testkit::containerd::Version::V1_6;
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(crate::support::Node::on(V1_6).await).await; })+
        }
        mod containerd_1_7 {
            use corten_testkit::containerd::Version::V1_7;
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(crate::support::Node::on(V1_7).await).await; })+
        }
    };
}
pub(crate) use everywhere;

/// Starts it, with this project's CNI plugin and the image of all tests.
pub(crate) fn start(version: Version, enclosure: &Enclosure) -> Containerd {
    // A test's program writes to its standard output what no plugin may: the answer goes another way.
    let program = std::env::current_exe().expect("this program");
    let plugin = format!("exec 3>&1 >/dev/null\nexec {} --exact cni --ignored --nocapture", program.display());
    let image = (&IMAGE.parse().expect("a name"), &busybox());
    enclosure.containerd(version, &plugin, image).expect("containerd starts")
}

/// This project's CNI plugin, as a program of its own.
pub(crate) fn plugin() {
    let invocation = Invocation::from_variables(|name| std::env::var_os(name));
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).expect("a configuration");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
    let (answer, code) = match runtime.block_on(run(&invocation, &input)) {
        Ok(answer) => (answer, 0),
        Err(failure) => (Some(failure.to_json()), 1),
    };
    if let Some(answer) = answer {
        fs::write("/proc/self/fd/3", answer.to_string()).expect("the answer is written");
    }
    std::process::exit(code);
}
