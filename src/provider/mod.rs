//! Presets: what is particular to one product's authorization servers, each in a file of its own.

pub(crate) mod okta;
