//! The parameters of a query, checked in the reference's words.

use std::path::Path;

use http::StatusCode;
use jiff::Timestamp;

use super::super::answer::Refusal;
use super::super::query::Query;
use super::files;

const MOST_LINES: i64 = 100_000;
const MOST_SERVICES: usize = 4;
const LONGEST_SERVICE: usize = 256;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogQuery {
    services: Vec<String>,
    files: Vec<String>,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) tail: Option<i64>,
    pub(super) boot: Option<i64>,
    pub(super) pattern: Option<String>,
}

/// What it is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A file below the directory of logs.
    File(String),
    Services(Vec<String>),
}

impl LogQuery {
    /// Reads the parameters; nothing if there are none.
    ///
    /// # Errors
    /// 400 for what cannot be read.
    pub(super) fn parse(query: &Query) -> Result<Option<Self>, Refusal> {
        let mut errors = Vec::new();
        let given: Vec<&str> = query.all("query").collect();
        let (files, services): (Vec<&str>, Vec<&str>) = given.iter().copied().partition(|name| name.contains(['/', '\\']));
        let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
        let services: Vec<&str> = services.into_iter().filter(|name| !name.trim().is_empty()).collect();
        if !given.is_empty() && files.is_empty() && services.is_empty() {
            errors.push(format!("query: Invalid value: {given:?}: query cannot be empty"));
        }
        let asked = Self {
            services: owned(services),
            files: owned(files),
            since: read(query, "sinceTime", &mut errors, |text| text.parse().map_err(|_| "invalid time format".to_owned())),
            until: read(query, "untilTime", &mut errors, |text| text.parse().map_err(|_| "invalid time format".to_owned())),
            tail: read(query, "tailLines", &mut errors, number),
            boot: read(query, "boot", &mut errors, number),
            pattern: query.get("pattern").filter(|text| !text.is_empty()).map(str::to_owned),
        };
        refuse(StatusCode::BAD_REQUEST, errors)?;
        Ok(Some(asked).filter(|asked| *asked != Self::default()))
    }

    /// Whether more is said than what it is about.
    pub(super) fn has_options(&self) -> bool {
        let bare = Self { services: self.services.clone(), files: self.files.clone(), ..Self::default() };
        *self != bare
    }

    /// What it is about.
    ///
    /// # Errors
    /// 406 for what does not fit together.
    pub(super) fn check(&self, root: &Path) -> Result<Subject, Refusal> {
        let mut errors: Vec<String> = self.services.iter().filter_map(|service| check_service(service)).collect();
        if self.services.len() > MOST_SERVICES {
            errors.push(format!("query: Too many: {}: must have at most {MOST_SERVICES} items", self.services.len()));
        }
        let (services, files) = (&self.services, &self.files);
        match files.as_slice() {
            [] if services.is_empty() => errors.push("query: Required value: cannot be empty with options".to_owned()),
            [] => {}
            _ if !services.is_empty() => {
                errors.push(format!("query: Invalid value: \"{files:?}, {services:?}\": cannot specify a file and service"));
            }
            [file] if !self.has_options() => {
                if let Err(error) = files::find(root, file) {
                    errors.push(format!("query: Invalid value: {files:?}: {error}"));
                }
            }
            [_] => errors.push(format!("query: Invalid value: {files:?}: cannot specify file with options")),
            _ => errors.push(format!("query: Invalid value: {files:?}: cannot specify more than one file")),
        }
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since > until
        {
            errors.push(format!("untilTime: Invalid value: \"{until}\": must be after `sinceTime`"));
        }
        if let Some(boot) = self.boot.filter(|boot| *boot > 0) {
            errors.push(format!("boot: Invalid value: {boot}: must be less than 1"));
        }
        if let Some(tail) = self.tail.filter(|tail| !(0..=MOST_LINES).contains(tail)) {
            errors.push(format!("tailLines: Invalid value: {tail}: must be between 0 and {MOST_LINES}, inclusive"));
        }
        if let Some(pattern) = &self.pattern
            && let Err(error) = regex::Regex::new(pattern)
        {
            errors.push(format!("pattern: Invalid value: {pattern:?}: {error}"));
        }
        refuse(StatusCode::NOT_ACCEPTABLE, errors)?;
        Ok(match files.first() {
            // A backslash is a separator to some clients.
            Some(file) => Subject::File(file.replace('\\', "/")),
            None => Subject::Services(services.clone()),
        })
    }
}

fn read<T>(query: &Query, name: &str, errors: &mut Vec<String>, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    let text = query.get(name).filter(|text| !text.is_empty())?;
    parse(text).map_err(|why| errors.push(format!("{name}: Invalid value: {text:?}: {why}"))).ok()
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
}

/// What is wrong with the name of a service: it becomes part of a command.
fn check_service(name: &str) -> Option<String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@');
    if name.len() > LONGEST_SERVICE {
        return Some(format!("query: Invalid value: {name:?}: length must be at most {LONGEST_SERVICE}"));
    }
    (!name.chars().all(safe)).then(|| format!("query: Invalid value: {name:?}: input contains unsupported characters"))
}

fn refuse(code: StatusCode, errors: Vec<String>) -> Result<(), Refusal> {
    match errors.as_slice() {
        [] => Ok(()),
        [only] => Err(Refusal::new(code, format!("{only}\n"))),
        several => Err(Refusal::new(code, format!("[{}]\n", several.join(", ")))),
    }
}
