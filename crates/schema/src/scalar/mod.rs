//! Scalars with a form of their own: quantities, times, durations, bytes.
