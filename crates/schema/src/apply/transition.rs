//! What becomes of an object's owners at a write, if they were others' before and the write was one of others: mostly it is.

use super::Paths;
use super::cache::{Cache, hash};
use super::difference::{Difference, question};
use super::entry::Writer;
use super::fields::{LONGEST, SchemaNumber, number};
use super::managed::MAX_UPDATERS;
use super::owners::{Owner, Owners};
use super::statement::Statement;
use super::trace::Steps;
use super::track::Unchanged;
use crate::{Schema, Str, json};
use std::sync::Arc;

/// What a write made of what owners had said.
struct Transition {
    schema: SchemaNumber,
    difference: Arc<Difference>,
    writer: Writer,
    before: Box<[Arc<Statement>]>,
    after: Box<[(Arc<Statement>, Time)]>,
}

/// When an owner has set its fields.
#[derive(Clone, Copy)]
enum Time {
    /// When the owner in this place had done so.
    Of(usize),
    Now,
}

static KNOWN: Cache<Transition> = Cache::new();

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
    let all = owners.map_or(&[][..], Owners::all);
    let differs = question(trace, reset);
    // Whoever writes by another version sees another difference; and the oldest of too many are merged.
    let ordinary = all.len() < MAX_UPDATERS && all.iter().all(|owner| owner.statement.writer.api_version == writer.api_version);
    if !ordinary {
        return work_out(&Difference::by(trace, differs, reset));
    }
    let schema = number(Some(schema));
    let bystanders = Bystanders::among(all, trace, writer, schema);
    let before = || all.iter().enumerate().filter(|(at, _)| !bystanders.contain(*at)).map(|(_, owner)| owner);
    let Writer { manager, operation, subresource, .. } = writer;
    let first_and_last = [before().next(), before().next_back()].map(|owner| owner.map(|owner| Arc::as_ptr(&owner.statement).addr()));
    let question = hash(&(differs, manager, *operation as u8, subresource, before().count(), first_and_last));
    let answer = |known: &Transition| {
        let same = known.schema == schema
            && known.before.len() == before().count()
            && known.before.iter().zip(before()).all(|(known, owner)| Arc::ptr_eq(known, &owner.statement))
            && known.writer == *writer
            && known.difference.is_of(trace, reset);
        // Nobody waits while memory is found.
        same.then(|| {
            let mut after = [const { None }; MAX_UPDATERS];
            after.iter_mut().zip(&known.after).for_each(|(place, owner)| *place = Some(owner.clone()));
            after
        })
    };
    if let Some(after) = KNOWN.get(question, answer) {
        let owner = |(statement, time)| Owner {
            statement,
            time: match time {
                Time::Of(at) => before().nth(at).and_then(|owner| owner.time.clone()),
                Time::Now => Some(now.clone()),
            },
        };
        let passed = all.iter().enumerate().filter(|(at, _)| bystanders.contain(*at)).map(|(_, owner)| owner.clone());
        return Ok(Owners::sorted(after.into_iter().flatten().map(owner).chain(passed).collect()));
    }
    let difference = Difference::by(trace, differs, reset);
    let made = work_out(&difference)?;
    let before: Vec<&Owner> = before().collect();
    let after: Vec<&Owner> = made.iter().flat_map(|made| made.all()).filter(|owner| !bystanders.have(all, owner)).collect();
    let text = |owners: &[&Owner]| owners.iter().map(|owner| owner.statement.len()).sum::<usize>();
    let is_short = text(&before) + text(&after) <= 2 * LONGEST;
    if is_short && difference.is_kept() && before.iter().all(|owner| owner.statement.is_shared()) {
        KNOWN.put(question, || Transition {
            schema,
            writer: writer.clone(),
            before: before.iter().map(|owner| Arc::clone(&owner.statement)).collect(),
            after: after.iter().map(|owner| (Arc::clone(&owner.statement), time(owner, &before, &difference, writer))).collect(),
            difference,
        });
    }
    Ok(made)
}

/// Owners that a write does not concern and who say what nobody else does, as it is when a pod's address is in it: nothing is
/// remembered of them, and what they say stays. A bit for each place.
struct Bystanders(u16);

const _: () = assert!(MAX_UPDATERS <= u16::BITS as usize);

impl Bystanders {
    fn among(all: &[Owner], trace: &Steps, writer: &Writer, schema: SchemaNumber) -> Self {
        let mut found = 0;
        // What is written, as a statement would say it.
        let mut written: Option<Vec<String>> = None;
        for (at, Owner { statement, .. }) in all.iter().enumerate() {
            if statement.is_shared() || statement.writer.is(writer) || !statement.is_settled_by(schema) {
                continue;
            }
            let written = written
                .get_or_insert_with(|| trace.roots().iter().map(|name| format!("{}:", json::text(&format!("f:{name}").into()))).collect());
            if !written.iter().any(|field| statement.mentions(field)) {
                found |= 1 << at;
            }
        }
        Self(found)
    }

    const fn contain(&self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }

    fn have(&self, all: &[Owner], owner: &Owner) -> bool {
        all.iter().enumerate().any(|(at, other)| self.contain(at) && Arc::ptr_eq(&other.statement, &owner.statement))
    }
}

/// Where the time of an owner comes from.
fn time(owner: &Owner, before: &[&Owner], difference: &Difference, writer: &Writer) -> Time {
    let who = &owner.statement.writer;
    match before.iter().position(|other| other.statement.writer == *who) {
        Some(at) if !who.is(writer) || difference.fields.is_none() => Time::Of(at),
        _ => Time::Now,
    }
}
