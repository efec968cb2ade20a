//! What becomes of an object's owners at a write, if they were others' before and the write was one of others: mostly it is.

use super::Paths;
use super::cache::{Cache, hash};
use super::difference::{Difference, question};
use super::entry::Writer;
use super::fields::{LONGEST, SchemaNumber, number};
use super::form::{self, Form};
use super::managed::MAX_UPDATERS;
use super::owners::{Owner, Owners};
use super::statement::Statement;
use super::trace::Steps;
use super::track::Unchanged;
use crate::{Schema, Str};
use std::sync::Arc;

/// What a write made of what owners had said. Those values that mostly one object has may be others, if they compare with each other
/// as those did.
struct Transition {
    schema: SchemaNumber,
    trace: Steps,
    reset: Box<str>,
    writer: Writer,
    before: Box<[Arc<Form>]>,
    order: u64,
    after: Box<[After]>,
}

/// An owner after a write.
struct After {
    form: Arc<Form>,
    /// The values in its blanks, by their places among all values before it.
    values: Box<[usize]>,
    time: Time,
}

/// When an owner has set its fields.
#[derive(Clone, Copy)]
enum Time {
    /// When the owner in this place had done so.
    Of(usize),
    Now,
}

static KNOWN: Cache<Arc<Transition>> = Cache::new();

/// Who owns what after a write in which a comparison has found this, which `work_out` says if nobody knows yet.
pub(super) fn transition(
    schema: &Schema,
    trace: &Steps,
    reset: &Paths,
    owners: Option<&Owners>,
    writer: &Writer,
    now: &Str,
    work_out: impl FnOnce(&Arc<Difference>) -> Result<Option<Owners>, Unchanged>,
) -> Result<Option<Owners>, Unchanged> {
    let before = owners.map_or(&[][..], Owners::all);
    let differs = question(trace, reset);
    // Whoever writes by another version sees another difference; and the oldest of too many are merged.
    let is_ordinary = before.len() < MAX_UPDATERS && before.iter().all(|owner| owner.writer().api_version == writer.api_version);
    let mut values: Vec<&str> = form::values(trace.values()).collect();
    values.extend(before.iter().flat_map(|owner| form::values(&owner.statement.values)));
    let Some(order) = order(&values).filter(|_| is_ordinary) else {
        return work_out(&Difference::by(trace, differs, reset));
    };
    let schema = number(Some(schema));
    let Writer { manager, operation, subresource, .. } = writer;
    let first_and_last = [before.first(), before.last()].map(|owner| owner.map(|owner| Arc::as_ptr(&owner.statement.form).addr()));
    let question = hash(&(differs, manager, *operation as u8, subresource, before.len(), first_and_last, order));
    let answer = |known: &Arc<Transition>| {
        let same = known.schema == schema
            && known.before.len() == before.len()
            && known.before.iter().zip(before).all(|(known, owner)| Arc::ptr_eq(known, &owner.statement.form))
            && known.order == order
            && known.writer == *writer
            && known.trace.has_form_of(trace)
            && *known.reset == *reset.name();
        same.then(|| Arc::clone(known))
    };
    if let Some(known) = KNOWN.get(question, answer) {
        let owner = |After { form, values: places, time }: &After| Owner {
            statement: Statement { form: Arc::clone(form), values: pick(&values, places) },
            time: match time {
                Time::Of(at) => before.get(*at).and_then(|owner| owner.time.clone()),
                Time::Now => Some(now.clone()),
            },
        };
        return Ok(Owners::sorted(known.after.iter().map(owner).collect()));
    }
    let difference = Difference::by(trace, differs, reset);
    let made = work_out(&difference)?;
    let after = made.as_ref().map_or(&[][..], Owners::all);
    let text: usize = before.iter().chain(after).map(|owner| owner.statement.len()).sum();
    let is_kept = text <= 2 * LONGEST && difference.is_kept() && before.iter().all(|owner| owner.statement.form.is_shared());
    // What has such values in other places is not seen to compare with them.
    let is_clear = || values.is_empty() || before.iter().chain(after).all(|owner| owner.statement.is_clear());
    if is_kept
        && is_clear()
        && let Some(after) = after.iter().map(|owner| After::of(owner, before, &values, &difference, writer)).collect()
    {
        KNOWN.put(question, || {
            let before = before.iter().map(|owner| Arc::clone(&owner.statement.form)).collect();
            let (trace, reset, writer) = (trace.clone(), reset.name().into(), writer.clone());
            Arc::new(Transition { schema, trace, reset, writer, before, order, after })
        });
    }
    Ok(made)
}

impl After {
    /// How this owner came of those before; `None` if it has a value that nobody had.
    fn of(owner: &Owner, before: &[Owner], values: &[&str], difference: &Difference, writer: &Writer) -> Option<Self> {
        let Statement { form, values: own } = &owner.statement;
        let who = owner.writer();
        let time = match before.iter().position(|other| other.writer() == who) {
            Some(at) if !who.is(writer) || difference.fields.is_none() => Time::Of(at),
            _ => Time::Now,
        };
        let values = form::values(own).map(|own| values.iter().position(|value| *value == own)).collect::<Option<_>>()?;
        Some(Self { form: Arc::clone(form), values, time })
    }
}

/// The values in these places.
fn pick(values: &[&str], places: &[usize]) -> Str {
    if places.is_empty() {
        return Str::default();
    }
    let mut picked = String::with_capacity(40);
    places.iter().filter_map(|at| values.get(*at)).for_each(|value| form::push_value(value, &mut picked));
    picked.into()
}

/// How values compare with each other: of each, how many are less. `None` if they are too many.
fn order(values: &[&str]) -> Option<u64> {
    /// Bits for each.
    const BITS: u32 = 4;
    let less = |value| values.iter().filter(|other| **other < value).count() as u64;
    let is_short = values.len() <= (u64::BITS / BITS) as usize;
    is_short.then(|| values.iter().fold(0, |order, value| order << BITS | less(*value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::tests::{canonical, schema};
    use crate::apply::{OneVersion, Operation, Write, compare, track_kept};
    use crate::{Value, value};

    /// What addresses make of owners is known from others, as long as they compare with each other as those did.
    #[test]
    fn values_may_be_others() {
        let schema = schema("v1", "Pod");
        let versions = OneVersion { api_version: "v1", schema };
        let writer = |manager: &str| {
            let manager = manager.into();
            Writer { manager, operation: Operation::Update, api_version: "v1".into(), subresource: Str::default() }
        };
        let (now, reset) = (Str::from("2026-01-01T00:00:00Z"), Paths::none());
        let pod = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|ip| value!({"ip": (*ip)})).collect();
            canonical(schema, &value!({"status": {"phase": "Running", "podIPs": (Value::List(addresses))}}))
        };
        let is_known_of = |who: &str, before: &[&str], after: &[&str]| {
            let (none, old, new) = (canonical(schema, &value!({})), pod(before), pod(after));
            let write = |old, new| Write { versions: &versions, old, new, reset: &reset };
            let owners = track_kept(schema, write(&none, &old), None, &writer("values may be"), &now).unwrap();
            let trace = compare::compare(schema, &old, &new, &reset);
            let known = transition(schema, trace.steps(), &reset, owners.as_ref(), &writer(who), &now, |_| Err(Unchanged));
            let made = track_kept(schema, write(&old, &new), owners.as_ref(), &writer(who), &now);
            assert!(known.is_err() || known == made);
            known.is_ok()
        };
        let is_known = |before: &[&str], after: &[&str]| is_known_of("others", before, after);
        let learn = |before: &[&str], after: &[&str]| {
            assert!((0..8).any(|_| is_known(before, after)), "{before:?} {after:?}");
        };
        learn(&["1"], &["2"]);
        assert!(is_known(&["10.0.0.1"], &["10.0.0.2"]));
        assert!(!is_known(&["2"], &["1"]), "the other way round");
        learn(&["2"], &["1"]);
        assert!(is_known(&["b"], &["a"]));
        assert!(!is_known(&["1"], &["1", "2"]), "one of them stays");
        learn(&["1"], &["1", "2"]);
        assert!(is_known(&["a"], &["a", "b"]));
        assert!(!is_known(&["b"], &["a", "b"]), "what comes is less");
        assert!(!is_known(&["a"], &["b", "c"]));
        // Who had the one has both then, in their order.
        assert!((0..8).any(|_| is_known_of("values may be", &["1"], &["1", "2"])));
        assert!(!is_known_of("values may be", &["2"], &["1", "2"]));
        // What must be escaped is not taken out, and says so.
        assert!((0..8).all(|_| !is_known(&["a\"b"], &["c"])));
    }
}
