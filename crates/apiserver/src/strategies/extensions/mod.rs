//! Custom resource definitions and API services: what is wrong with them as objects. What they do is elsewhere.

mod approval;
mod conversion;
mod defaults;
mod definitions;
mod field_path;
mod names;
mod rules;
mod schema;
mod services;
mod structural;
mod values;
mod versions;

pub(super) use definitions::Definitions;
pub(super) use services::Services;
