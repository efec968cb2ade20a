//! What an owner says of itself and of its fields.

use super::cache::{Cache, hash};
use super::entry::Writer;
use super::fields::{Fields, LONGEST};
use super::form::Form;
use crate::Str;
use std::sync::Arc;

/// An entry of `managedFields` but for its time. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    /// Mostly that of others, too.
    pub(super) form: Arc<Form>,
    /// What is in its blanks.
    pub(super) values: Str,
}

impl Statement {
    /// That this writer owns these fields.
    pub(super) fn of(writer: &Writer, fields: &Fields) -> Self {
        /// By where the fields are, so that no text need be made to find it.
        static MADE: Cache<(Fields, Statement)> = Cache::new();
        let Writer { manager, operation, api_version, subresource } = writer;
        let question = hash(&(manager, *operation as u8, api_version, subresource, fields.address()));
        let find = |(of, made): &(Fields, Self)| (of.is(fields) && made.form.writer == *writer).then(|| made.clone());
        if let Some(made) = MADE.get(question, find) {
            return made;
        }
        let (form, values) = Form::of(writer, fields);
        let made = Self { form: shared(form, fields), values };
        if made.len() <= LONGEST {
            MADE.put(question, || (fields.clone(), made.clone()));
        }
        made
    }

    /// The fields.
    pub(super) fn fields(&self) -> Fields {
        match self.form.shared.get() {
            Some(Some(fields)) => fields.clone(),
            _ => Fields::from_text(self.form.fields(&self.values)),
        }
    }

    /// Whether no value that mostly one object has is elsewhere than in a blank.
    pub(super) fn is_clear(&self) -> bool {
        self.form.is_clear(&self.values)
    }

    /// How long the text is.
    pub(super) fn len(&self) -> usize {
        self.form.text().len() + self.values.len() - self.form.blanks()
    }
}

/// The form that others have, if there are some.
fn shared(form: Form, fields: &Fields) -> Arc<Form> {
    static KNOWN: Cache<Arc<Form>> = Cache::new();
    if form.text().len() > LONGEST {
        return Arc::new(form);
    }
    let question = hash(form.text());
    KNOWN.get(question, |known| (known.text() == form.text()).then(|| Arc::clone(known))).unwrap_or_else(|| {
        let made = Arc::new(form);
        KNOWN.put(question, || {
            made.shared.get_or_init(|| (made.blanks() == 0).then(|| fields.clone()));
            Arc::clone(&made)
        });
        made
    })
}

impl PartialEq for Statement {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values && (Arc::ptr_eq(&self.form, &other.form) || self.form.text() == other.form.text())
    }
}
