//! Names of cgroups, in both of the forms that kubelets use: `kubepods/burstable/pod1` (driver cgroupfs) and
//! `kubepods-burstable-pod1.slice` (driver systemd), where a slice's name says which slices it lies in.

use crate::error::{Error, Result};

/// How systemd's names of slices end.
const SLICE: &str = ".slice";

/// The longest name that a directory can have.
const LONGEST: usize = 255;

/// Where the cgroup is that a pod's containers go into. A slice that is only named is looked for where its name says.
pub(crate) fn parent(asked: &str) -> Result<String> {
    let asked = asked.trim_matches('/');
    match asked.strip_suffix(SLICE) {
        Some(name) if !asked.contains('/') => expand(name),
        _ => Ok(asked.to_owned()),
    }
}

/// `a-b` as `a.slice/a-b.slice`.
fn expand(name: &str) -> Result<String> {
    // The root of all slices is called "-.slice".
    if name == "-" {
        return Ok(String::new());
    }
    if name.is_empty() || name.len() + SLICE.len() > LONGEST || name.split('-').any(str::is_empty) {
        return Err(Error::Invalid(format!("invalid slice name: {name}{SLICE}")));
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    let slices: Vec<String> = ends.map(|end| format!("{}{SLICE}", name.get(..end).unwrap_or(name))).collect();
    Ok(slices.join("/"))
}

/// The cgroup of a container: in a slice it is a scope, as systemd calls what others start.
pub(crate) fn container(parent: &str, id: &str) -> String {
    if parent.ends_with(SLICE) { format!("{parent}/corten-{id}.scope") } else { format!("{parent}/{id}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_lies_where_its_name_says() {
        for (asked, found) in [
            ("/kubepods/burstable/pod1", "kubepods/burstable/pod1"),
            ("kubepods.slice", "kubepods.slice"),
            ("kubepods-burstable-pod5a_6b.slice", "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod5a_6b.slice"),
            ("/kubepods.slice/kubepods-pod1.slice", "kubepods.slice/kubepods-pod1.slice"),
            ("-.slice", ""),
        ] {
            assert_eq!(parent(asked).unwrap(), found, "{asked}");
        }
        for wrong in ["a--b.slice", "-a.slice", "a-.slice", ".slice"] {
            assert_eq!(parent(wrong).unwrap_err().to_string(), format!("invalid slice name: {wrong}"));
        }
        assert!(parent(&format!("{}.slice", "a-".repeat(1 << 20) + "a")).is_err());
        assert_eq!(container("/kubepods.slice/kubepods-pod1.slice", "c1"), "/kubepods.slice/kubepods-pod1.slice/corten-c1.scope");
        assert_eq!(container("/kubepods/pod1", "c1"), "/kubepods/pod1/c1");
    }
}
