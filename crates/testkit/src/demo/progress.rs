//! Waiting for a Deployment, shown as a bar on a terminal and as plain lines elsewhere.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::Demo;

/// Follows the Deployment by a watch until all replicas are available. Ctrl-C ends this wait, not the cluster.
pub(crate) fn wait_until_available(demo: &Demo, name: &str) -> Result<()> {
    let columns = "custom-columns=WANTED:.spec.replicas,READY:.status.readyReplicas,AVAILABLE:.status.availableReplicas";
    let mut watch = demo.kubectl(&["get", "deployment", name, "--watch", "--no-headers", "-o", columns]);
    let child = watch.stdout(Stdio::piped()).spawn().context("cannot run kubectl")?;
    let mut watch = Ended(child);
    let lines = BufReader::new(watch.0.stdout.take().context("kubectl has no output")?).lines();

    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("  [{bar:30}] {pos}/{len} ready  {elapsed}")?.progress_chars("=> "));
    let mut last = None;
    for line in lines {
        let line = line?;
        let numbers: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
        let [wanted, ready, available] = numbers[..] else { bail!("kubectl printed {line:?}") };
        if last != Some(ready) {
            bar.set_length(wanted);
            bar.set_position(ready);
            if bar.is_hidden() {
                println!("  {ready}/{wanted} ready");
            }
            last = Some(ready);
        }
        if available == wanted {
            bar.finish();
            return Ok(());
        }
    }
    bail!("kubectl stopped watching before all pods were ready")
}

/// A process that ends with its handle.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
