//! Schedules in the form of cron: five fields, or a word after `@`.

/// What is wrong with a schedule, in the words of the parser that the reference uses; nothing when all is well.
pub fn check(schedule: &str) -> Result<(), String> {
    if schedule.is_empty() {
        return Err("empty spec string".to_owned());
    }
    let mut schedule = schedule;
    if let Some((_, rest)) =
        schedule.strip_prefix("TZ=").or_else(|| schedule.strip_prefix("CRON_TZ=")).map(|rest| rest.split_once(' ').unwrap_or((rest, "")))
    {
        schedule = rest.trim();
    }
    if let Some(word) = schedule.strip_prefix('@') {
        return descriptor(schedule, word);
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != BOUNDS.len() {
        return Err(format!("expected exactly {} fields, found {}: [{}]", BOUNDS.len(), fields.len(), fields.join(" ")));
    }
    for (field, bounds) in fields.iter().zip(&BOUNDS) {
        for part in field.split(',').filter(|part| !part.is_empty()) {
            range(part, bounds)?;
        }
    }
    Ok(())
}

struct Bounds {
    least: i64,
    most: i64,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const BOUNDS: [Bounds; 5] = [
    Bounds { least: 0, most: 59, names: &[] },
    Bounds { least: 0, most: 23, names: &[] },
    Bounds { least: 1, most: 31, names: &[] },
    Bounds { least: 1, most: 12, names: MONTHS },
    Bounds { least: 0, most: 6, names: DAYS },
];

fn descriptor(whole: &str, word: &str) -> Result<(), String> {
    match word {
        "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly" => Ok(()),
        _ => match word.strip_prefix("every ") {
            Some(text) if is_duration(text) => Ok(()),
            Some(text) => Err(format!("failed to parse duration {whole}: time: invalid duration {text:?}")),
            None => Err(format!("unrecognized descriptor: {whole}")),
        },
    }
}

/// A duration as Go writes it: `1h30m`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.trim_start_matches(['+', '-']);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = rest.get(..rest.len() - unit.len()).unwrap_or_default();
        let found = ["ns", "us", "µs", "ms", "s", "m", "h"].iter().filter_map(|name| unit.strip_prefix(name)).next();
        let (Some(after), true) = (found, number.parse::<f64>().is_ok()) else { return false };
        // `ms` begins like `m`: the longer unit is listed first.
        rest = after;
        parts += 1;
    }
    parts > 0
}

fn range(part: &str, bounds: &Bounds) -> Result<(), String> {
    let mut steps = part.split('/');
    let (span, step, more) = (steps.next().unwrap_or_default(), steps.next(), steps.next());
    let mut ends = span.split('-');
    let (low, high, extra) = (ends.next().unwrap_or_default(), ends.next(), ends.next());
    let (start, mut end) = if matches!(low, "*" | "?") {
        (bounds.least, bounds.most)
    } else {
        let start = number_or_name(low, bounds)?;
        if extra.is_some() {
            return Err(format!("too many hyphens: {part}"));
        }
        (start, high.map_or(Ok(start), |high| number_or_name(high, bounds))?)
    };
    let step = match (step, more) {
        (_, Some(_)) => return Err(format!("too many slashes: {part}")),
        (Some(step), None) => {
            if high.is_none() {
                end = bounds.most;
            }
            number(step)?
        }
        (None, None) => 1,
    };
    if start < bounds.least {
        return Err(format!("beginning of range ({start}) below minimum ({}): {part}", bounds.least));
    }
    if end > bounds.most {
        return Err(format!("end of range ({end}) above maximum ({}): {part}", bounds.most));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    Ok(())
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<i64, String> {
    let lower = text.to_lowercase();
    let named = bounds.names.iter().position(|name| !name.is_empty() && *name == lower);
    match named.and_then(|index| i64::try_from(index).ok()) {
        Some(index) => Ok(index),
        None => number(text),
    }
}

fn number(text: &str) -> Result<i64, String> {
    let number: i64 =
        text.parse().map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))?;
    if number < 0 { Err(format!("negative number ({number}) not allowed: {text}")) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn schedules() {
        for valid in
            ["* * * * *", "*/5 0-12/2 1,15 jan-MAR sun", "@hourly", "@every 1h30m", "0 0 ? * 6", "TZ=Asia/Tokyo 0 1 * * *", "@every 10ms"]
        {
            assert_eq!(check(valid), Ok(()), "{valid}");
        }
        for (bad, words) in [
            ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* 5-3 * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("*/2/3 * * * *", "too many slashes: */2/3"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("@often", "unrecognized descriptor: @often"),
            ("@every x", "failed to parse duration @every x: time: invalid duration \"x\""),
        ] {
            assert_eq!(check(bad), Err(words.to_owned()), "{bad}");
        }
    }
}
