//! The HTTP front: listeners, limits, content negotiation, the way of a request from bytes to the engine and back.

mod limits;
mod listener;
mod negotiate;
mod pipeline;
mod respond;
mod service;
mod socket;
#[cfg(test)]
mod tests;

pub(crate) use limits::InFlight;
pub use listener::Limits;
pub(crate) use listener::{Peer, serve};
pub(crate) use negotiate::{Accepted, BodyFormat, Encoding, Offer, View, body_format};
pub(crate) use respond::{encoded_response, json_response, object_response, status_protobuf, status_response, typed};
pub use service::ApiService;
