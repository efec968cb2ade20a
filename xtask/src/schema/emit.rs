//! Writing the data file; `crates/schema/src/model/parse.rs` reads it and describes its lines.

use super::go::{Field, Program, Struct, Type};
use super::level::Fields;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// OpenAPI names of the types that the resource list serves.
pub(super) fn served(resources: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut prefix = "";
    for line in resources.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] | ["#", ..] | ["group", _] => {}
            ["version", _, package] => prefix = package,
            [sub, _, rest @ ..] if sub.starts_with('/') => {
                if let ["v1", kind] = rest {
                    names.push(format!("io.k8s.api.core.v1.{kind}"));
                }
            }
            [_, kind, ..] => {
                names.push(format!("{prefix}.{kind}"));
                names.push(format!("{prefix}.{kind}List"));
            }
            [_] => anyhow::bail!("not a resource line: {line}"),
        }
    }
    Ok(names)
}

/// The text of the data file: every type that the served ones reach.
pub(super) fn table(level: &str, program: &Program, known: &Fields, served: &[String], overlay: &str) -> Result<String> {
    let (given, additions) = read_overlay(overlay);
    let mut queue: VecDeque<String> = served.iter().cloned().chain(super::EXTRA.map(str::to_owned)).collect();
    queue.push_back("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps".to_owned());
    let mut found: BTreeMap<String, Struct> = BTreeMap::new();
    while let Some(name) = queue.pop_front() {
        if found.contains_key(&name) || given.contains_key(name.as_str()) {
            continue;
        }
        let structure = match program.structure(&name) {
            // Reviews have no lists.
            Err(_) if name.ends_with("List") => continue,
            other => other.with_context(|| name.clone())?,
        };
        for field in structure.fields.iter().filter(|field| field.name.is_empty() || known.has(&name, &field.name)) {
            queue.extend(reached(&field.ty));
        }
        found.insert(name, structure);
    }
    let mut text = format!("# Kubernetes {level}: types. Made by `cargo xtask schema`; do not edit.\n");
    for (head, lines) in given.values() {
        writeln!(text, "{head}")?;
        lines.iter().try_for_each(|line| writeln!(text, "{line}"))?;
    }
    for (name, structure) in &found {
        write!(text, "{name}")?;
        if structure.object {
            write!(text, " o")?;
        }
        if structure.markers.get("structType") == Some("atomic") {
            write!(text, " a")?;
        }
        writeln!(text)?;
        for field in &structure.fields {
            if field.name.is_empty() {
                let Type::Struct(inner) = &field.ty else { anyhow::bail!("{name} inlines {:?}", field.ty) };
                writeln!(text, " > {} {inner}", field.tag)?;
            } else if known.has(name, &field.name) {
                writeln!(text, " {}", line(field)?)?;
            }
        }
        additions.get(name.as_str()).into_iter().flatten().try_for_each(|line| writeln!(text, "{line}"))?;
    }
    Ok(text)
}

/// Whole types of the overlay by name, and its additions (`+ NAME`) to types of the sources.
type Overlay<'a> = (BTreeMap<&'a str, (&'a str, Vec<&'a str>)>, BTreeMap<&'a str, Vec<&'a str>>);

fn read_overlay(text: &str) -> Overlay<'_> {
    let (mut types, mut additions) = (BTreeMap::<_, (_, Vec<&str>)>::new(), BTreeMap::<_, Vec<&str>>::new());
    let mut current: Option<&mut Vec<&str>> = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with(' ') {
            current.iter_mut().for_each(|lines| lines.push(line));
        } else if let Some(name) = line.strip_prefix("+ ") {
            current = Some(additions.entry(name).or_default());
        } else {
            let name = line.split(' ').next().unwrap_or(line);
            current = Some(&mut types.entry(name).or_insert((line, Vec::new())).1);
        }
    }
    (types, additions)
}

fn reached(ty: &Type) -> Option<String> {
    match ty {
        Type::Scalar(_) => None,
        Type::Struct(name) => Some(name.clone()),
        Type::List(inner) | Type::Map(inner) | Type::Pointer(inner) => reached(inner),
    }
}

fn line(field: &Field) -> Result<String> {
    let (pointer, ty) = match &field.ty {
        Type::Pointer(inner) => (true, &**inner),
        other => (false, other),
    };
    let presence = match (pointer, field.omit_zero, field.omit_empty) {
        (true, _, true) => '*',
        (true, _, false) => '^',
        (false, true, _) => '-',
        (false, false, true) => '?',
        (false, false, false) => '!',
    };
    let mut text = format!("{} {} {presence}{}", field.name, field.tag, spell(ty)?);
    let required =
        if field.markers.has("optional") { false } else { field.markers.has("required") || !(field.omit_empty || field.omit_zero) };
    if required {
        text.push_str(" req");
    }
    let keys: Vec<&str> = field.markers.all("listMapKey").collect();
    if !keys.is_empty() {
        write!(text, " keys={}", keys.join(","))?;
    } else if field.markers.get("listType") == Some("set") {
        text.push_str(" set");
    } else if ["listType", "mapType", "structType"].iter().any(|marker| field.markers.get(marker) == Some("atomic")) {
        text.push_str(" atomic");
    }
    let strategies: Vec<&str> = field.patch_strategy.split(',').collect();
    if strategies.contains(&"merge") {
        text.push_str(" merge");
        if !field.patch_key.is_empty() {
            write!(text, "={}", field.patch_key)?;
        }
    }
    if strategies.contains(&"retainKeys") {
        text.push_str(" retain");
    }
    if !field.values.is_empty() {
        write!(text, " enum={}", field.values.join("|"))?;
    }
    Ok(text)
}

fn spell(ty: &Type) -> Result<String> {
    Ok(match ty {
        Type::Scalar(name) => (*name).to_owned(),
        Type::Struct(name) => name.clone(),
        Type::List(inner) => format!("[]{}", spell(inner)?),
        Type::Map(inner) => format!("{{}}{}", spell(inner)?),
        Type::Pointer(inner) => anyhow::bail!("a pointer inside a list: {inner:?}"),
    })
}
