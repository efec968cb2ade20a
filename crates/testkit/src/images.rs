//! Fixture images.
