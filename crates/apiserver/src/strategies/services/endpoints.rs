//! Endpoints and EndpointSlices.

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, immutable, one_of};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, list, text};

/// The strategy of Endpoints.
pub(in crate::strategies) struct Endpoints;

impl Strategy for Endpoints {
    fn creates_on_update(&self) -> bool {
        true
    }
}

/// The strategy of EndpointSlices.
pub(in crate::strategies) struct EndpointSlices;

impl Strategy for EndpointSlices {
    fn validate(&self, _: Scope<'_>, slice: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let kind = text(slice, "addressType");
        let path = Path::Root("addressType");
        if kind.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else {
            one_of(&mut errors, path, kind, &["FQDN", "IPv4", "IPv6"]);
        }
        for (field, most) in [("endpoints", 1000), ("ports", 100)] {
            let count = list(slice, field).len();
            if count > most {
                errors.push(FieldError::too_many(field, count, most));
            }
        }
        let endpoints = Path::Root("endpoints");
        for (number, endpoint) in list(slice, "endpoints").enumerate() {
            let path = endpoints.index(number);
            if list(endpoint, "addresses").len() == 0 {
                errors.push(FieldError::required(path.field("addresses"), "must contain at least 1 address"));
            }
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, slice: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, slice);
        immutable(&mut errors, Path::Root("addressType"), at(slice, "addressType"), at(old, "addressType"));
        errors
    }
}
