//! Which shared libraries a program needs (ELF gABI, "Dynamic Section"; ld.so(8) for where they are looked for).

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longer files are no programs that anyone wants in an image.
const FILE_MAX: u64 = 512 << 20;
const LIBRARIES_MAX: usize = 512;
const ENTRIES_MAX: usize = 4096;

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// Where the dynamic loader looks without being told, with Debian's multiarch directories.
const SEARCH: [&str; 8] = [
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "lib64",
    "usr/lib64",
    "lib",
    "usr/lib",
];

/// Why a program's libraries cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no 64-bit little-endian ELF, or is damaged.
    #[error("{}: not a usable 64-bit ELF file", .0.display())]
    Format(PathBuf),
    /// A library is in none of the directories.
    #[error("{library}, needed by {}, is not found", by.display())]
    Missing {
        /// Its name.
        library: String,
        /// Who needs it.
        by: PathBuf,
    },
    /// More libraries than any program has.
    #[error("more than {LIBRARIES_MAX} libraries")]
    TooMany,
}

/// What an ELF file asks of the dynamic loader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// The loader; none in libraries and static programs.
    pub interpreter: Option<String>,
    /// Names of the libraries needed.
    pub needed: Vec<String>,
    /// Directories to look in first.
    pub search: Vec<String>,
}

/// Reads what an ELF file asks for.
///
/// # Errors
/// If the file cannot be read or is no 64-bit little-endian ELF.
pub fn inspect(path: &Path) -> Result<Dynamic, ElfError> {
    let failed = |source| ElfError::Io { path: path.to_owned(), source };
    let mut content = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut content)).map_err(failed)?;
    parse(&content).ok_or_else(|| ElfError::Format(path.to_owned()))
}

/// All libraries that a program needs, and the loader, as pairs: where the program looks for it → the file to copy there. They are looked
/// for below each of `roots` in turn (unpacked packages, then `/`, say).
///
/// # Errors
/// If a file is unreadable or a library is nowhere.
pub fn libraries(program: &Path, roots: &[&Path]) -> Result<BTreeMap<String, PathBuf>, ElfError> {
    let mut found = BTreeMap::new();
    let mut queue = VecDeque::from([program.to_owned()]);
    let mut known: Vec<String> = Vec::new();
    while let Some(file) = queue.pop_front() {
        let dynamic = inspect(&file)?;
        if let Some(interpreter) = dynamic.interpreter {
            let relative = interpreter.trim_start_matches('/');
            let source = roots.iter().map(|root| root.join(relative)).find(|path| path.is_file());
            let source = source.ok_or_else(|| ElfError::Missing { library: interpreter.clone(), by: file.clone() })?;
            found.insert(format!("/{relative}"), source);
        }
        for library in dynamic.needed {
            if known.contains(&library) || library.contains('/') {
                continue;
            }
            let (place, source) =
                locate(&library, &dynamic.search, roots).ok_or_else(|| ElfError::Missing { library: library.clone(), by: file.clone() })?;
            found.insert(place, source.clone());
            queue.push_back(source);
            known.push(library);
            if known.len() > LIBRARIES_MAX {
                return Err(ElfError::TooMany);
            }
        }
    }
    Ok(found)
}

fn locate(library: &str, search: &[String], roots: &[&Path]) -> Option<(String, PathBuf)> {
    let directories = || search.iter().map(|directory| directory.trim_matches('/')).chain(SEARCH);
    roots.iter().find_map(|root| {
        directories().find_map(|directory| {
            let source = root.join(directory).join(library);
            source.is_file().then(|| (format!("/{directory}/{library}"), source))
        })
    })
}

fn parse(file: &[u8]) -> Option<Dynamic> {
    // 64-bit, little-endian.
    if file.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (headers, size, count) = (number(file, 32, 8)?, number(file, 54, 2)?, number(file, 56, 2)?);
    let mut segments = Vec::new();
    for index in 0..count {
        let at = usize::try_from(headers.checked_add(index.checked_mul(size)?)?).ok()?;
        // Type, offset in the file, virtual address, size in the file.
        segments.push((number(file, at, 4)?, number(file, at + 8, 8)?, number(file, at + 16, 8)?, number(file, at + 32, 8)?));
    }
    let of_type = |wanted| segments.iter().find(move |(kind, ..)| *kind == wanted);
    let mut dynamic = Dynamic::default();
    if let Some((_, offset, _, _)) = of_type(PT_INTERP) {
        dynamic.interpreter = Some(text(file, *offset)?);
    }
    let Some((_, table, _, length)) = of_type(PT_DYNAMIC) else { return Some(dynamic) };
    let mut entries = Vec::new();
    for index in 0..(length / 16).min(ENTRIES_MAX as u64) {
        let at = usize::try_from(table.checked_add(index * 16)?).ok()?;
        let (tag, value) = (number(file, at, 8)?, number(file, at + 8, 8)?);
        if tag == 0 {
            break;
        }
        entries.push((tag, value));
    }
    let Some((_, address)) = entries.iter().find(|(tag, _)| *tag == DT_STRTAB) else { return Some(dynamic) };
    // The table is given by its address in memory.
    let strings = segments.iter().find_map(|(kind, offset, start, length)| {
        let within = address.checked_sub(*start).filter(|within| *kind == PT_LOAD && within < length)?;
        offset.checked_add(within)
    })?;
    for (tag, value) in entries {
        let string = || text(file, strings.checked_add(value)?);
        match tag {
            DT_NEEDED => dynamic.needed.push(string()?),
            DT_RPATH | DT_RUNPATH => dynamic.search.extend(string()?.split(':').filter(|path| path.starts_with('/')).map(str::to_owned)),
            _ => {}
        }
    }
    Some(dynamic)
}

fn number(file: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = file.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn text(file: &[u8], at: u64) -> Option<String> {
    let rest = file.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().take(4096).position(|byte| *byte == 0)?;
    String::from_utf8(rest.get(..end)?.to_vec()).ok()
}

#[cfg(test)]
mod tests;
